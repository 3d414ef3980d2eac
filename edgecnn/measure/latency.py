"""The timing loop: one sample per call, in nanoseconds of the monotonic clock, nothing averaged away.

A sample spans the call and one reading of the clock. What that adds is measured by ``overhead`` and stated, not
subtracted. Garbage collection of Python is off meanwhile.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Clock = Callable[[], int]


def time_calls(
    call: Callable[[], object], seconds: float, at_least: int = 1, clock: Clock = time.perf_counter_ns
) -> list[int]:
    """Nanoseconds of each call, for as many calls as begin within ``seconds``, and no fewer than ``at_least``."""
    samples: list[int] = []
    with no_garbage_collection():
        now = clock()
        end = now + int(seconds * 1e9)
        while now < end or len(samples) < at_least:
            start = clock()
            call()
            now = clock()
            samples.append(now - start)
    return samples


def overhead(calls: int = 1000, clock: Clock = time.perf_counter_ns) -> int:
    """Nanoseconds that a sample holds beyond what is timed: the median sample of a call that does nothing."""
    return round(statistics.median(time_calls(_nothing, 0, calls, clock)))


def _nothing() -> None:
    return


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect now, and not again before the end; within another one this does nothing."""
    was_on = gc.isenabled()
    if was_on:
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
