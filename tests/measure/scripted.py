"""A bench without files, processes or waiting: every answer and every look at the machine is written down."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edgecnn.errors import CheckFailedError
from edgecnn.measure.bench import Surroundings
from edgecnn.measure.energy import Meter
from edgecnn.measure.machine import Machine, State
from edgecnn.measure.measurement import Case
from edgecnn.measure.worker import Worker

MACHINE = Machine("Board 1", "Cortex-A76", "aarch64", 4, ("asimddp",), False, "Debian", "6.12", "3.13.0", 4 << 30)
QUIET = State("performance", 1500.0, 50.0, 0, None, at=100.0, busy=20.0, stolen=0.0, own=10.0)


def case(file: str = "a.tflite", bundle: str | None = None, batch: int = 1) -> Case:
    """A case of a file that is not there."""
    return Case(file, bundle, 1234, "0" * 64, "lenet", "static_w8a8", "litert", 1, batch, None)


def after(state: State = QUIET, seconds: float = 10.0, own: float = 8.0, others: float = 0.0, **changes: Any) -> State:
    """The state some seconds later; ``own`` and ``others`` are CPU seconds spent meanwhile."""
    later = {"at": state.at + seconds, "own": state.own + own, "busy": state.busy + own + others}
    return dataclasses.replace(state, **(later | changes))


class ScriptedWorker(Worker):
    """Answers as told: ``microseconds`` of every call, or a failure when asked to do ``fails_at``.

    A sustained run has these ``windows``, each the answer as it is.
    """

    def __init__(
        self, microseconds: float, clocks: tuple[float, ...] = (), fails_at: str = "",
        windows: Sequence[dict[str, Any]] = (),
    ) -> None:  # fmt: skip
        self.spawned = 0
        self.microseconds, self.clocks, self.fails_at = microseconds, clocks, fails_at
        self.windows = list(windows)
        self.graph: dict[str, Any] | None = None
        self.floor: int | None = None
        self.asked: list[dict[str, Any]] = []
        self.closed = False

    def ask(self, request: dict[str, Any], patience: float, poll: Callable[[], None] | None = None) -> dict[str, Any]:
        self.asked.append(request)
        if request["do"] == self.fails_at:
            raise CheckFailedError("was killed by SIGILL")
        if poll is not None:
            poll()
        if request["do"] == "sustain":
            return self.windows.pop(0)
        nanoseconds = round(self.microseconds * 1000)
        answers: dict[str, dict[str, Any]] = {
            "open": {
                "engine": "engine 1", "start": 1_000_000, "imports": 2_000_000, "load": 3_000_000, "first": 500_000,
                "base_bytes": 10_000_000, "peak_bytes": 12_000_000, "overhead": 50,
            },
            "time": {
                "warm_ups": [nanoseconds * 9], "samples": [nanoseconds] * 11 + [nanoseconds * 3],
                "clocks_mhz": list(self.clocks), "cpu": nanoseconds - 1000,
            },
            "spend": {"calls": 500},
            "score": {"correct": 9, "images": 10}, "anatomy": {"graph": self.graph, "floor": self.floor},
        }  # fmt: skip
        answer: dict[str, Any] = json.loads(json.dumps(answers[request["do"]]))  # as through a pipe
        return answer

    def close(self) -> None:
        self.closed = True

    def __exit__(self, *exception: object) -> None:
        self.close()


def surroundings(
    workers: Callable[[Case], Worker],
    states: Iterator[State],
    meter: Meter | str = "no meter here",
    rests: list[float] | None = None,
) -> Surroundings:
    """Surroundings that start these workers and go through these states."""
    rested = [] if rests is None else rests
    return Surroundings(lambda: MACHINE, lambda: next(states), lambda: meter, workers, rested.append, 1.0)


def quiet() -> Iterator[State]:
    """A machine that does nothing else, for ever."""
    state = QUIET
    while True:
        yield state
        state = after(state)
