"""Measures cases by turns, each turn in a process of its own: A B C, A B C, ...

A new process for every turn, because the memory layout that one happens to get makes it a per cent or two faster or
slower for all its life: only several processes show that. Only one is alive at a time, so none waits beside another.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from edgecnn import __version__
from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.measure.energy import Meter, find_meter
from edgecnn.measure.figures import medians
from edgecnn.measure.machine import Machine, State, read_machine, read_state
from edgecnn.measure.measurement import Case, Energy, Graph, Measurement, Run, Session, Settings, Window
from edgecnn.measure.pace import Pace
from edgecnn.measure.sustained import doubts, window_seconds
from edgecnn.measure.trust import Verdict, judge, judge_runs, throttling
from edgecnn.measure.worker import Worker
from edgecnn.runtime.manifest import Accuracy
from edgecnn.runtime.records import decode

WARM_UP = 0.1  # seconds, in each run
FEWEST_CALLS = 10  # in each run
PATIENCE = 120.0  # seconds for an answer, beyond the time that it must take
SCORING_PATIENCE = 600.0
ENERGY_SECONDS = 1.0
LONGEST = 604_800  # seconds of anything


@dataclass(frozen=True)
class Surroundings:
    """What a bench touches besides its files; tests replace it."""

    machine: Callable[[], Machine] = read_machine
    state: Callable[[], State] = read_state
    meter: Callable[[], Meter | str] = find_meter
    start: Callable[[Case], Worker] = lambda _case: Worker()
    sleep: Callable[[float], None] = time.sleep
    patience: float = PATIENCE
    clock: Callable[[], float] = time.monotonic


@dataclass
class _Progress:
    """What is known of one case so far."""

    case: Case
    energy: Energy
    engine: str | None = None
    failure: str | None = None
    runs: list[Run] = field(default_factory=list)
    accuracy: Accuracy | None = None
    windows: list[Window] = field(default_factory=list)
    graph: Graph | None = None
    floor: int | None = None


def bench(
    cases: Sequence[Case],
    settings: Settings,
    surroundings: Surroundings = Surroundings(),
    say: Callable[[str], None] = lambda _line: None,
) -> Session:
    """Measure the cases in ``settings.runs`` rounds, then sustained if asked for, and judge what came out.

    ``say`` hears of each round, and now and then of what is left.

    A case whose process fails keeps the reason as its failure and the others go on. Raises UsageError for no case, or
    CPUs to pin to that are not there.
    """
    check(cases, settings)
    machine = surroundings.machine()
    meter = surroundings.meter()
    reason = meter if isinstance(meter, str) else "not measured"
    rows = [_Progress(case, Energy(None, None, False, reason)) for case in cases]
    each = settings.cooldown + settings.sustained
    pace = Pace(settings.runs * len(rows), each * len(rows) if settings.sustained else 0.0, say, surroundings.clock)
    states = [surroundings.state()]
    for number in range(settings.runs):
        line = f"round {number + 1} of {settings.runs}"
        pace.tell(line, news=True)
        last = number == settings.runs - 1
        for place, row in enumerate(rows):
            pace.tell(f"{line}, {place + 1} of {len(rows)} files")
            if row.failure is None:
                with _failing(row):
                    _rest(settings, surroundings)
                    _take_turn(row, settings, surroundings, None if isinstance(meter, str) else meter, last)
            pace.turn()
        states.append(surroundings.state())
    sustained: list[State] = []
    for place, row in enumerate(rows if settings.sustained else []):
        if row.failure is None:
            with _failing(row):
                _rest(settings, surroundings)
                pace.later = each * (len(rows) - place)
                _sustain(row, settings, surroundings, pace, f"sustained {place + 1} of {len(rows)}")
            sustained.append(surroundings.state())
    flags = [window.throttled for row in rows for window in row.windows if window.throttled is not None]
    verdict = judge(states, machine.cores, sustained, flags)
    return Session(
        edgecnn=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        machine=machine,
        settings=settings,
        states=(*states, *sustained),
        verdict=verdict,
        measurements=tuple(_finished(row, verdict) for row in rows),
    )


def check(cases: Sequence[Case], settings: Settings) -> None:
    """Raise UsageError for cases and settings that this machine cannot measure."""
    if not cases or settings.runs < 1:
        raise UsageError(f"{len(cases)} files in {settings.runs} runs is no measurement (valid: 1 or more of each)")
    for name in ("min_seconds", "cooldown", "sustained"):
        seconds = getattr(settings, name)
        if not 0 <= seconds <= LONGEST:
            raise UsageError(f"{name} is {seconds:g} (valid: 0 to {LONGEST} seconds, a week)")
    there = os.sched_getaffinity(0)
    if not set(settings.pin) <= there:
        asked, known = (",".join(map(str, sorted(each))) for each in (settings.pin, there))
        raise UsageError(f"--pin {asked} names a CPU that this process may not use (valid: {known})")
    threads = max(case.threads for case in cases)
    room = len(set(settings.pin)) or len(there)
    if threads > room:
        raise UsageError(f"--threads {threads} is more than the {room} CPUs there are for them; ask for fewer")


@contextmanager
def _failing(row: _Progress) -> Iterator[None]:
    """A process that fails makes its row a failed one."""
    try:
        yield
    except CheckFailedError as error:
        row.failure = str(error).removeprefix(f"{row.case.file} ")


def _rest(settings: Settings, around: Surroundings) -> None:
    if settings.cooldown:
        around.sleep(settings.cooldown)


def _open(worker: Worker, row: _Progress, settings: Settings, around: Surroundings) -> dict[str, Any]:
    """Open the row's file in the process; what that gives but the engine, which the row keeps."""
    order = {"case": dataclasses.asdict(row.case), "pin": settings.pin, "spawned": worker.spawned}
    opened = worker.ask({"do": "open", **order}, around.patience)
    row.engine = opened.pop("engine")
    return opened


def _take_turn(row: _Progress, settings: Settings, around: Surroundings, meter: Meter | None, last: bool) -> None:
    """One run in a new process; in the last one, also energy and accuracy, after everything that is timed."""
    seconds = settings.min_seconds / settings.runs
    with around.start(row.case) as worker:
        opened = _open(worker, row, settings, around)
        timing = {"warm_up": WARM_UP, "seconds": seconds, "at_least": FEWEST_CALLS}
        timed = worker.ask({"do": "time", **timing}, around.patience + WARM_UP + seconds)
        row.runs.append(_run(opened, timed))
        if last and meter is not None:
            row.energy = _spend(worker, meter, row.case.batch, around.patience)
        if last and row.case.bundle is not None:
            scored = worker.ask({"do": "score"}, max(around.patience, SCORING_PATIENCE))
            row.accuracy = Accuracy(**scored) if scored else None
        if last:
            found = worker.ask({"do": "anatomy"}, around.patience)
            row.graph = None if found["graph"] is None else decode(Graph, found["graph"])
            row.floor = found["floor"]


def _sustain(row: _Progress, settings: Settings, around: Surroundings, pace: Pace, line: str) -> None:
    """One process that computes without a rest; each window is known as soon as it is over."""
    seconds, wanted = window_seconds(settings.sustained), settings.sustained
    with around.start(row.case) as worker:
        _open(worker, row, settings, around)
        pace.tell(f"{line}: {row.case.file}", news=True)
        events, troubled = None, False
        while (at := row.windows[-1].at if row.windows else 0.0) < wanted - seconds / 2:
            left = (len(row.windows) + 1) * seconds - at  # less than a window by what looking at the machine took
            answer = worker.ask({"do": "sustain", "seconds": max(0.0, left)}, around.patience + seconds)
            counted = answer.pop("events")
            window = Window(**answer)
            row.windows.append(window)
            hot = throttling(window.throttled or 0) or ("" if events in (None, counted) else "throttled")
            events = counted
            pace.later -= window.at - at
            words = [f"{window.at:.0f} of {wanted:g} s", f"{window.p50 / 1000:.1f} us a call"]
            words += [] if window.celsius is None else [f"{window.celsius:.0f} °C"]
            pace.tell(f"{line}: {', '.join([*words, hot] if hot else words)}", news=bool(hot) and not troubled)
            troubled = bool(hot)


def _run(opened: dict[str, Any], timed: dict[str, Any]) -> Run:
    lists: dict[str, Any] = {
        name: tuple(values) if isinstance(values, list) else values for name, values in timed.items()
    }
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
    bare = Measurement(
        row.case, row.engine, row.failure, tuple(row.runs), row.accuracy, row.energy, of_all,
        graph=row.graph, sustained=tuple(row.windows), floor=row.floor,
    )  # fmt: skip
    if not row.runs:
        return bare
    clocks = [mhz for run in row.runs for mhz in run.clocks_mhz]
    return dataclasses.replace(bare, verdict=judge_runs(of_all, medians(bare), clocks, doubts(row.windows)))
