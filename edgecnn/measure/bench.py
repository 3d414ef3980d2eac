"""Measures cases by turns, each turn in a process of its own: A B C, A B C, ...

A new process for every turn, because the memory layout that one happens to get makes it a per cent or two faster or
slower for all its life: only several processes show that. Only one is alive at a time, so none waits beside another.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from edgecnn import __version__
from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.measure.energy import Meter, find_meter
from edgecnn.measure.figures import medians
from edgecnn.measure.machine import Machine, State, read_machine, read_state
from edgecnn.measure.measurement import Case, Energy, Measurement, Run, Session, Settings
from edgecnn.measure.trust import Verdict, judge, judge_runs
from edgecnn.measure.worker import Worker
from edgecnn.runtime.manifest import Accuracy

WARM_UP = 0.1  # seconds, in each run
FEWEST_CALLS = 10  # in each run
PATIENCE = 120.0  # seconds for an answer, beyond the time that it must take
SCORING_PATIENCE = 600.0
ENERGY_SECONDS = 1.0


@dataclass(frozen=True)
class Surroundings:
    """What a bench touches besides its files; tests replace it."""

    machine: Callable[[], Machine] = read_machine
    state: Callable[[], State] = read_state
    meter: Callable[[], Meter | str] = find_meter
    start: Callable[[Case], Worker] = lambda _case: Worker()
    sleep: Callable[[float], None] = time.sleep
    patience: float = PATIENCE


@dataclass
class _Progress:
    """What is known of one case so far."""

    case: Case
    energy: Energy
    engine: str | None = None
    failure: str | None = None
    runs: list[Run] = field(default_factory=list)
    accuracy: Accuracy | None = None


def bench(
    cases: Sequence[Case],
    settings: Settings,
    surroundings: Surroundings = Surroundings(),
    say: Callable[[str], None] = lambda _line: None,
) -> Session:
    """Measure the cases in ``settings.runs`` rounds and judge what came out; ``say`` hears of each round.

    A case whose process fails keeps the reason as its failure and the others go on. Raises UsageError for no case, or
    CPUs to pin to that are not there.
    """
    _check(cases, settings)
    machine = surroundings.machine()
    meter = surroundings.meter()
    reason = meter if isinstance(meter, str) else "not measured"
    rows = [_Progress(case, Energy(None, None, False, reason)) for case in cases]
    states = [surroundings.state()]
    for number in range(settings.runs):
        say(f"round {number + 1} of {settings.runs}")
        last = number == settings.runs - 1
        for row in rows:
            if row.failure is None:
                if settings.cooldown:
                    surroundings.sleep(settings.cooldown)
                try:
                    _take_turn(row, settings, surroundings, None if isinstance(meter, str) else meter, last)
                except CheckFailedError as error:
                    row.failure = str(error).removeprefix(f"{row.case.file} ")
        states.append(surroundings.state())
    verdict = judge(states, machine.cores)
    return Session(
        edgecnn=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        machine=machine,
        settings=settings,
        states=tuple(states),
        verdict=verdict,
        measurements=tuple(_finished(row, verdict) for row in rows),
    )


def _check(cases: Sequence[Case], settings: Settings) -> None:
    if not cases or settings.runs < 1:
        raise UsageError(f"{len(cases)} files in {settings.runs} runs is no measurement (valid: 1 or more of each)")
    there = os.sched_getaffinity(0)
    if not set(settings.pin) <= there:
        asked, known = (",".join(map(str, sorted(each))) for each in (settings.pin, there))
        raise UsageError(f"--pin {asked} names a CPU that this process may not use (valid: {known})")
    threads = max(case.threads for case in cases)
    room = len(set(settings.pin)) or len(there)
    if threads > room:
        raise UsageError(f"--threads {threads} is more than the {room} CPUs there are for them; ask for fewer")


def _take_turn(row: _Progress, settings: Settings, around: Surroundings, meter: Meter | None, last: bool) -> None:
    """One run in a new process; in the last one, also energy and accuracy, after everything that is timed."""
    seconds = settings.min_seconds / settings.runs
    with around.start(row.case) as worker:
        order = {"case": dataclasses.asdict(row.case), "pin": settings.pin, "spawned": worker.spawned}
        opened = worker.ask({"do": "open", **order}, around.patience)
        row.engine = opened.pop("engine")
        timing = {"warm_up": WARM_UP, "seconds": seconds, "at_least": FEWEST_CALLS}
        timed = worker.ask({"do": "time", **timing}, around.patience + WARM_UP + seconds)
        row.runs.append(_run(opened, timed))
        if last and meter is not None:
            row.energy = _spend(worker, meter, row.case.batch, around.patience)
        if last and row.case.bundle is not None:
            row.accuracy = Accuracy(**worker.ask({"do": "score"}, max(around.patience, SCORING_PATIENCE)))


def _run(opened: dict[str, Any], timed: dict[str, Any]) -> Run:
    lists: dict[str, Any] = {name: tuple(values) for name, values in timed.items()}
    return Run(**opened, **lists)


def _spend(worker: Worker, meter: Meter, batch: int, patience: float) -> Energy:
    """Energy over a span of its own, so that looking at the meter does not disturb the timing."""
    meter.begin()
    meter.poll()
    calls = worker.ask({"do": "spend", "seconds": ENERGY_SECONDS}, patience + ENERGY_SECONDS, meter.poll)["calls"]
    joules = meter.joules()
    if joules is None:
        return Energy(None, meter.source, meter.estimate, "the meter could not be read during the run")
    return Energy(joules / (calls * batch), meter.source, meter.estimate, None)


def _finished(row: _Progress, of_all: Verdict) -> Measurement:
    bare = Measurement(row.case, row.engine, row.failure, tuple(row.runs), row.accuracy, row.energy, of_all)
    if not row.runs:
        return bare
    clocks = [mhz for run in row.runs for mhz in run.clocks_mhz]
    return dataclasses.replace(bare, verdict=judge_runs(of_all, medians(bare), clocks))
