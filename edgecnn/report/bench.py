"""A bench session as text for people and as CSV for spreadsheets; pure formatting."""

from __future__ import annotations

import csv
import dataclasses
import io

from edgecnn.measure.figures import Figures, figures
from edgecnn.measure.machine import FEATURES, State
from edgecnn.measure.measurement import Energy, Measurement, Session
from edgecnn.measure.stats import FEWEST_RUNS, median_method, wilson
from edgecnn.report import emulated
from edgecnn.report.speed import lines
from edgecnn.report.sustained import BLOCKS, plots
from edgecnn.report.table import table

SPEED = (
    "file", "recipe", "engine", "threads", "batch", "bytes", "accuracy", "95 %", "p50 us", "95 %", "p90", "p99", "min",
    "mean", "spread", "images/s", "verdict",
)  # fmt: skip
COSTS = (
    "file", "engine", "cold start ms", "process", "imports", "load", "first run", "memory MB", "arena kB",
    "energy mJ",
)  # fmt: skip


def text(session: Session, characters: str = BLOCKS) -> str:
    """The whole session: speed, costs, the machine, and every reason for doubt.

    ``characters`` are the levels that sustained runs are drawn with.
    """
    if session.machine.emulated:
        return emulated.text(session)
    done = [row for row in session.measurements if row.failure is None]
    failed = [row for row in session.measurements if row.failure is not None]
    parts = [
        table(SPEED, [_speed(row, figures(row)) for row in done], "lllrrrrrrrrrrrrrl"),
        "",
        table(COSTS, [_costs(row, figures(row)) for row in done], "llrrrrrrrr"),
    ]
    parts = [*parts, ""] if done else []
    if session.invalid:
        parts.insert(0, f"INVALID: {'; '.join(session.verdict.reasons)}. These figures are not to be used.\n")
    parts += [f"FAILED {row.case.name} in {row.case.runtime}: {row.failure}" for row in failed]
    curves = plots([(f"{row.case.name} in {row.engine}", row) for row in session.measurements], characters)
    parts += [*curves, ""] if curves else []
    verdicts = lines(session)
    parts += [*verdicts, ""] if verdicts else []
    return "\n".join([*parts, *_notes(session, done), *_machine(session), "", *_verdicts(session)])


def csv_text(session: Session) -> str:
    """One line per measurement under a header line; what could not be had is empty."""
    lines = []
    for row in session.measurements:
        case = dataclasses.asdict(row.case)
        accuracy = row.accuracy.correct / row.accuracy.images if row.accuracy else None
        state = {
            "engine": row.engine, "failure": row.failure, "verdict": row.verdict.level,
            "reasons": "; ".join(row.verdict.reasons), "accuracy": accuracy,
            "images": row.accuracy.images if row.accuracy else None, "energy_joules": row.energy.joules,
            "energy_is_estimate": row.energy.estimate if row.energy.joules is not None else None,
            "arena_bytes": row.graph.arena_bytes if row.graph else None,
            "operations": len(row.graph.operations) if row.graph else None,
            "outside_delegate": len(row.graph.outside) if row.graph else None,
            "partitions": row.graph.partitions if row.graph else None, "floor_nanoseconds": row.floor,
        }  # fmt: skip
        state |= emulated.cells(row)
        known = dataclasses.asdict(figures(row)) if row.runs else {}
        low, high = known.pop("p50_interval", None) or (None, None)
        names = [field.name for field in dataclasses.fields(Figures) if field.name != "p50_interval"]
        values = {name: known.get(name) for name in names} | {"p50_low": low, "p50_high": high}
        lines.append(case | state | values)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue().rstrip("\n")


def _speed(row: Measurement, known: Figures) -> list[str]:
    accuracy = ["not scored", "-"]
    if row.accuracy is not None:
        low, high = wilson(row.accuracy.correct, row.accuracy.images)
        share = 100 * row.accuracy.correct / row.accuracy.images
        accuracy = [f"{share:.2f} % of {row.accuracy.images}", f"{100 * low:.2f} to {100 * high:.2f}"]
    interval = "-" if known.p50_interval is None else " to ".join(map(_micro, known.p50_interval))
    times = [_micro(value) for value in (known.p90, known.p99, known.minimum, known.mean)]
    return [
        row.case.name, row.case.recipe or "not recorded", row.engine or "-", str(row.case.threads), str(row.case.batch),
        f"{row.case.bytes:,}", *accuracy, _micro(known.p50), interval, *times, f"{known.spread:.1%}",
        f"{known.images_per_second:,.0f}", row.verdict.level,
    ]  # fmt: skip


def _costs(row: Measurement, known: Figures) -> list[str]:
    memory = "-" if known.memory_bytes is None else f"{known.memory_bytes / 1e6:.1f}"
    cold = (known.cold_start, known.cold_process, known.cold_imports, known.cold_load, known.cold_first)
    return [
        row.case.name,
        row.engine or "-",
        *(f"{value:.1f}" for value in cold),
        memory,
        _arena(row),
        _energy(row.energy),
    ]


def _arena(row: Measurement) -> str:
    if row.graph is None or row.graph.arena_bytes is None:
        return "-"
    return f"{row.graph.arena_bytes / 1000:.1f}"


def _energy(energy: Energy) -> str:
    if energy.joules is None:
        return "unavailable"
    return f"{1000 * energy.joules:.4g}" + (" (estimate)" if energy.estimate else "")


def _micro(microseconds: float) -> str:
    return f"{microseconds:,.1f}" if microseconds < 1000 else f"{microseconds:,.0f}"


def _notes(session: Session, done: list[Measurement]) -> list[str]:
    if not done:
        return []
    overhead = max(figures(row).overhead_nanoseconds for row in done)
    settings = session.settings
    energy = sorted({row.energy.reason or row.energy.source or "" for row in done})
    intervals = f"needs {FEWEST_RUNS} runs" if settings.runs < FEWEST_RUNS else median_method(settings.runs)
    return [
        f"times   per image; median of {settings.runs} runs, each a new process, by turns; {settings.min_seconds:g} s "
        "timed for each file in all",
        f"        the timing loop's own {overhead:.0f} ns a call are in them; preparing the image is not",
        f"95 %    of p50: {intervals}; of accuracy: Wilson",
        "spread  between the slowest and the fastest run of the same file",
        "memory  peak of the process over the runtime with nothing loaded",
        "arena   what the tensors between operations need without the delegate",
        f"energy  {'; '.join(energy)}",
        "",
    ]


def _machine(session: Session) -> list[str]:
    machine, first, last = session.machine, session.states[0], session.states[-1]
    board = f"{machine.board}, " if machine.board else ""
    where = ", virtual machine" if machine.virtual else ""
    known = [name for name in FEATURES if name in machine.features]
    return [
        f"machine {board}{machine.cpu}, {machine.cores} CPUs ({', '.join(known) or 'no int8 instructions'}){where}",
        f"        {machine.system}, kernel {machine.kernel}, Python {machine.python}, edgecnn {session.edgecnn}",
        f"before  {_state(first)}",
        f"after   {_state(last)}",
    ]


def _state(state: State) -> str:
    clock = "clock not told" if state.mhz is None else f"{state.mhz:.0f} MHz"
    heat = "temperature not told" if state.celsius is None else f"{state.celsius:.0f} °C"
    flags = "throttling not told"
    if state.throttled is not None:
        flags = f"throttle flags 0x{state.throttled:x}"
    elif state.throttle_events is not None:
        flags = f"throttled {state.throttle_events} times since boot"
    return f"governor {state.governor or 'not told'}, {clock}, {heat}, {flags}"


def _verdicts(session: Session) -> list[str]:
    lines = [f"verdict {session.verdict.level}"]
    lines += [f"        {reason}" for reason in session.verdict.reasons]
    for row in session.measurements:
        own = [reason for reason in row.verdict.reasons if reason not in session.verdict.reasons]
        lines += [f"        {row.case.name} in {row.engine}: {reason}" for reason in own]
    return lines
