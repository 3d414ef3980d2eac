"""Moments that do not drift, with a clock that the test sets."""

from __future__ import annotations

import random

import pytest

from edgecnn.watch.schedule import Schedule


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_work_of_any_length_within_its_time_shifts_nothing() -> None:
    clock, chance = Clock(), random.Random(1)
    schedule = Schedule(30, clock)
    for moment in range(10_000):
        clock.now += schedule.delay()
        assert clock.now == pytest.approx(1000 + moment / 30, abs=1e-9)
        clock.now += chance.uniform(0, 0.99 / 30)


def test_moments_that_went_by_are_left_out_and_the_rest_stay_where_they_were() -> None:
    clock = Clock()
    schedule = Schedule(10, clock)
    assert schedule.delay() == 0
    clock.now += 0.55
    assert schedule.delay() == 0  # late for the moment at 0.5
    clock.now += 0.01
    assert schedule.delay() == pytest.approx(0.04)  # and the next is at 0.6
    clock.now += 0.04
    assert schedule.delay() == pytest.approx(0.1)
