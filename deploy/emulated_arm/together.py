"""Runs jobs that wait for processes side by side, and ends all of them when one fails or on Ctrl-C."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Poll = Callable[[], None]


class _Stopped(BaseException):
    """Raised in a job whose result nobody wants any more, so that it ends its processes."""


def together(jobs: Sequence[Callable[[Poll], Any]]) -> list[Any]:
    """The jobs' results, as many running at a time as there are CPUs; a job calls what it is given now and then."""
    stop = threading.Event()

    def poll() -> None:
        if stop.is_set():
            raise _Stopped

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        futures = [pool.submit(job, poll) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
