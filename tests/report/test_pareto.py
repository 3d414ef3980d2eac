"""The Pareto front: who is beaten, and who only looks it."""

from __future__ import annotations

import random

import pytest

from edgecnn.report.pareto import front


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], ()),
        ([(5, 50)], (True,)),
        ([(1, 50), (2, 60), (3, 55)], (True, True, False)),
        ([(3, 55), (1, 50), (2, 60)], (False, True, True)),
        ([(1, 50), (1, 60)], (False, True)),  # the same cost
        ([(1, 50), (2, 50)], (True, False)),  # the same gain
        ([(1, 50), (1, 50)], (True, True)),  # equal points beat nobody
        ([(1, 50), (1, 50), (0.5, 50)], (False, False, True)),
    ],
)
def test_front(points: list[tuple[float, float]], expected: tuple[bool, ...]) -> None:
    assert front(points) == expected


def test_front_is_what_the_definition_says_of_every_pair() -> None:
    draw = random.Random(0)
    for _ in range(200):
        points = [(float(draw.randrange(6)), float(draw.randrange(6))) for _ in range(draw.randrange(12))]
        beaten = [
            any(cost <= x and gain >= y and (cost, gain) != (x, y) for cost, gain in points) for x, y in points
        ]  # fmt: skip
        assert front(points) == tuple(not each for each in beaten), points
