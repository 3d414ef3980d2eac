"""The timing loop on a clock that we wind ourselves."""

from __future__ import annotations

import gc
from itertools import count

from edgecnn.measure.latency import overhead, time_calls


class Clock:
    """Nanoseconds; each reading takes ``cost`` of them."""

    def __init__(self, cost: int = 0) -> None:
        self.now, self.cost = 1_000_000, cost

    def __call__(self) -> int:
        self.now += self.cost
        return self.now


def test_every_call_is_a_sample_until_the_time_is_up() -> None:
    clock = Clock()
    durations = iter([100, 300, 200, 500, 999])

    def call() -> None:
        clock.now += next(durations)

    assert time_calls(call, 1000e-9, clock=clock) == [100, 300, 200, 500]


def test_slow_calls_are_still_made_often_enough() -> None:
    clock, calls = Clock(), count(1)

    def call() -> None:
        clock.now += 10**9 * next(calls)

    assert time_calls(call, 0.5, at_least=3, clock=clock) == [10**9, 2 * 10**9, 3 * 10**9]


def test_overhead_is_what_the_clock_adds_to_a_sample() -> None:
    assert overhead(calls=100, clock=Clock(cost=63)) == 63


def test_garbage_collection_is_off_while_timing_and_on_again_after_an_error() -> None:
    seen: list[bool] = []

    def call() -> None:
        seen.append(gc.isenabled())
        raise KeyError

    assert gc.isenabled()
    try:
        time_calls(call, 1)
    except KeyError:
        seen.append(gc.isenabled())
    assert seen == [False, True]
