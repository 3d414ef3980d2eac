"""What a report says in sentences: the verdict, the machine and how it was measured."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.measure.machine import FEATURES, Machine, State
from edgecnn.measure.measurement import Energy
from edgecnn.measure.speed import speeds
from edgecnn.measure.stats import FEWEST_RUNS, median_method
from edgecnn.measure.trust import INVALID, UNSTABLE
from edgecnn.report.cells import own_reasons
from edgecnn.report.numbers import size
from edgecnn.report.sections import Section, Source
from edgecnn.report.speed import explanation, headline

ENERGY = "energy"  # of what ``method`` tells, what stands in a result file in its own words


def verdict(level: str, emulated: bool) -> tuple[str, str]:
    """A verdict in a word and in a sentence."""
    if level == INVALID:
        return "INVALID", "These figures are not to be used."
    if level == UNSTABLE:
        return "Unstable", "Something disturbed the machine, or runs of the same file differ. Use with care."
    if emulated:
        return "Valid", "Outputs were compared and instructions counted on an emulated CPU. Nothing here is a time."
    return "Valid", "Nothing that the bench watches disturbed the machine, and runs of the same file agree."


def reasons(section: Section) -> list[str]:
    """Every reason for doubt, that of a single file with its name."""
    several = len(section.verdicts) > 1
    found = [f"{name}: {each}" if several else each for name, verdict in section.verdicts for each in verdict.reasons]
    for row in section.rows:
        of = f"{row.name} in {row.measurement.case.runtime}"
        found += [f"{of} ({row.source.name}): {each}" if several else f"{of}: {each}" for each in own_reasons(row)]
    return found


def invalid(section: Section) -> list[str]:
    """Why figures of it must not be used, without a reason twice; empty where all may be."""
    spoiled = [verdict.reasons for _, verdict in section.verdicts if verdict.level == INVALID]
    spoiled += [row.measurement.verdict.reasons for row in section.rows if row.invalid]
    return list(dict.fromkeys(reason for reasons in spoiled for reason in reasons))


def speed(section: Section) -> list[tuple[str, list[str]]]:
    """(how fast a quantized file is beside its float32 file, why it is not faster), INVALID where it is."""
    found = []
    for source in section.sources:
        rows = source.session.measurements
        for each in speeds(source.session):
            levels = [source.session.verdict.level, *(rows[at].verdict.level for at in (each.quantized, each.float32))]
            mark = "INVALID: " if INVALID in levels else ""
            why = [line.removeprefix("- ") for line in explanation(source.session, each)]
            found.append((mark + headline(source.session, each), why))
    return found


def facts(machine: Machine) -> list[tuple[str, str]]:
    """Every field of the machine, by name."""
    features = [f"{name} ({FEATURES[name]})" if name in FEATURES else name for name in machine.features]
    return [
        ("board", machine.board or "not told"),
        ("CPU", machine.cpu),
        ("architecture", machine.architecture),
        ("cores", str(machine.cores)),
        ("CPU features for int8", "; ".join(features) or "none"),
        ("virtual machine", "yes" if machine.virtual else "no"),
        ("emulated", "yes" if machine.emulated else "no"),
        ("system", machine.system),
        ("kernel", machine.kernel),
        ("Python", machine.python),
        ("memory", "not told" if machine.memory_bytes is None else size(machine.memory_bytes)),
    ]


def states(looks: Sequence[State]) -> list[tuple[str, str, str]]:
    """(what, before, after) for all that may change on a machine."""
    first, last = looks[0], looks[-1]
    shown = (
        ("governor", lambda state: state.governor or "not told"),
        ("clock", lambda state: "not told" if state.mhz is None else f"{state.mhz:.0f} MHz"),
        ("temperature", lambda state: "not told" if state.celsius is None else f"{state.celsius:.0f} °C"),
        ("throttling", _throttling),
    )
    return [(what, show(first), show(last)) for what, show in shown]


def settings(source: Source) -> str:
    """How a session was measured, in a line."""
    asked = source.session.settings
    words = [f"{asked.runs} runs of each file, each in a new process, by turns", f"{asked.min_seconds:g} s timed for "
             "each file in all"]  # fmt: skip
    words += [f"on CPU {', '.join(map(str, asked.pin))} only"] if asked.pin else []
    words += [f"{asked.cooldown:g} s of rest before each run"] if asked.cooldown else []
    thinned = source.session.thinned
    words += [f"of each run at most {thinned:,} times, evenly spaced, are in the file"] if thinned else []
    words += [f"then {asked.sustained:g} s without a rest"] if asked.sustained else []
    return "; ".join(words)


def method(section: Section) -> list[tuple[str, str]]:
    """What each figure holds and what not, by name."""
    if section.machine.emulated:
        return [
            ("instructions", "executed by the emulated CPU for one image, median of several counts, with their span"),
            ("outputs", "the largest difference from the outputs of the machine that emulates"),
            ("time", "not given: the time of an emulation says nothing of a real CPU"),
            ("accuracy", "Wilson's 95 % interval"),
        ]
    known = [row for row in section.rows if row.figures is not None]
    overhead = max((row.figures.overhead_nanoseconds for row in known if row.figures), default=0)
    runs = min(source.session.settings.runs for source in section.sources)
    enough = runs >= FEWEST_RUNS
    interval = (
        f"95 % interval from {median_method(runs)}" if enough else f"its interval needs {FEWEST_RUNS} runs or more"
    )
    energies = {row.measurement.energy for row in known}
    return [
        ("p50, p90, p99", f"time per image of one call of the model, the median over the runs; of p50, {interval}"),
        ("in the times", f"the call, and {overhead:.0f} ns of the timing loop; not reading or preparing the image"),
        ("cold start", "from the start of the process to the first result: starting it, imports, load, first run"),
        ("memory", "the peak of the process over the runtime with nothing loaded"),
        (ENERGY, "; ".join(sorted({_metered(each) for each in energies})) or "not told"),
        ("accuracy", "share of test images in the right class, Wilson's 95 % interval"),
    ]


def _metered(energy: Energy) -> str:
    if energy.joules is None:
        return f"unavailable: {energy.reason}"
    return f"{energy.source}{', an estimate' if energy.estimate else ''}"


def _throttling(state: State) -> str:
    if state.throttled is not None:
        return f"flags 0x{state.throttled:x}"
    if state.throttle_events is not None:
        return f"{state.throttle_events} times since boot"
    return "not told"
