"""Axes: values lie where they belong, and what is written there is round and not crowded."""

from __future__ import annotations

import itertools

import pytest

from edgecnn.report.charts.scale import Scale, linear_ticks, widened


def test_places_on_a_linear_and_on_a_logarithmic_axis() -> None:
    assert [Scale(0, 10, 100, 200).at(value) for value in (-5, 0, 5, 10, 99)] == [100, 100, 150, 200, 200]
    assert [Scale(0, 10, 200, 100).at(value) for value in (0, 10)] == [200, 100]
    assert [round(Scale(1, 100, 0, 200, log=True).at(value), 6) for value in (1, 10, 100)] == [0, 100, 200]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 10, 6, (0, 2, 4, 6, 8, 10)), (71, 92, 6, (75, 80, 85, 90)), (0, 1, 3, (0, 0.5, 1)),
        (0.1, 0.35, 4, (0.1, 0.2, 0.3)), (98_000, 98_500, 3, (98_000, 98_200, 98_400)),
    ],
)  # fmt: skip
def test_linear_ticks(low: float, high: float, most: int, expected: tuple[float, ...]) -> None:
    assert linear_ticks(low, high, most) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (10, 300, 8, (10, 20, 30, 50, 70, 100, 200, 300)), (10, 300, 5, (10, 20, 50, 100, 200)),
        (1, 1e6, 4, (1, 100, 1e4, 1e6)), (12, 18, 4, (12, 14, 16, 18)), (1, 1000, 5, (1, 10, 100, 1000)),
    ],
)  # fmt: skip
def test_logarithmic_ticks(low: float, high: float, most: int, expected: tuple[float, ...]) -> None:
    assert Scale(low, high, 0, 1, log=True).ticks(most) == pytest.approx(expected)


def test_ticks_are_never_too_many_never_outside_and_rise() -> None:
    ends = [10.0**power * digit for power in range(-3, 7) for digit in (1, 1.7, 4.2)]
    for low, high in itertools.combinations(ends, 2):
        for most, log in itertools.product((2, 3, 5, 9), (False, True)):
            ticks = Scale(low, high, 0, 1, log).ticks(most)
            assert len(ticks) <= most, (low, high, most, log)
            assert list(ticks) == sorted(set(ticks))
            slack = 1e-6 * (high - low)
            assert all(low - slack <= tick <= high + slack for tick in ticks)
            assert most < 5 or len(ticks) >= 2, (low, high, most, log)


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True), (-1, 1, True)])
def test_no_axis_without_a_way(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="no .*axis goes from"):
        Scale(low, high, 0, 1, log)


@pytest.mark.parametrize("log", [False, True])
def test_a_single_value_gets_an_axis(log: bool) -> None:
    low, high = widened(5, 5, log, least=2)
    assert low < 5 < high
    assert not log or high / low == pytest.approx(2)
