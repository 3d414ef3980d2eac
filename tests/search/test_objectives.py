"""Fronts, their order, and who is stopped early by them."""

from __future__ import annotations

import pytest

from edgecnn.errors import UsageError
from edgecnn.search.halving import FEWEST, rungs, stops
from edgecnn.search.objectives import better_layers, front, parse, point


def test_a_front_holds_what_nothing_beats_and_equals() -> None:
    points = [point(0.9, (10, 5)), point(0.8, (10, 5)), point(0.8, (9, 9)), point(0.9, (10, 5)), point(0.7, (9, 9))]
    assert front(points) == (True, False, True, True, False)


def test_layers_before_a_point_are_counted() -> None:
    others = [point(0.9, (1,)), point(0.8, (1,)), point(0.7, (0.5,))]
    assert better_layers(point(0.6, (1,)), others) == 3
    assert better_layers(point(0.85, (1,)), others) == 2
    assert better_layers(point(0.95, (1,)), others) == 0


def test_who_falls_behind_is_stopped_and_the_cheapest_never_is() -> None:
    others = [point(0.5 + number / 100, (100,)) for number in range(FEWEST)]
    assert stops(point(0.4, (100,)), others)
    assert not stops(point(0.4, (99,)), others)
    assert not stops(point(0.9, (100,)), others)
    assert not stops(point(0.4, (100,)), others[1:]), "too few to judge by"


def test_rungs_lie_at_a_ninth_and_a_third() -> None:
    assert [rungs(epochs) for epochs in (1, 2, 3, 9, 27)] == [(), (), (1,), (1, 3), (3, 9)]


@pytest.mark.parametrize("text", ["accuracy", "bytes,latency"])
def test_a_search_needs_accuracy_and_a_cost(text: str) -> None:
    with pytest.raises(UsageError, match="is no search"):
        parse(text)
    assert parse("bytes, accuracy") == ("accuracy", "bytes")
