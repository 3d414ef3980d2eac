"""A bench session of an emulated CPU as text: instructions in place of times; pure formatting."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.measure.machine import FEATURES
from edgecnn.measure.measurement import Emulation, Measurement, Session
from edgecnn.measure.stats import spread, wilson
from edgecnn.report.table import table

COLUMNS = (
    "file", "recipe", "bytes", "accuracy", "95 %", "latency", "instructions/image", "spread", "of float32",
    "outputs as on this machine",
)  # fmt: skip
NOTES = (
    "instructions  executed by the engine for one image, without the Python around it; median of {runs} counts, each",
    "              in a new process. They are no time: how many are done in a second depends on the board",
    "of float32    the same model's instructions in its float32 file are 1",
    "95 %          of accuracy: Wilson",
)


def text(session: Session) -> str:
    """The whole session: costs and comparisons, the emulated machine, and what is to be known of both."""
    done = [row for row in session.measurements if row.failure is None and row.emulation is not None]
    failed = [row for row in session.measurements if row.failure is not None]
    parts = []
    if done:
        runs = max(len(row.emulation.instructions) for row in done if row.emulation is not None)
        rows = [_row(row, row.emulation, session) for row in done if row.emulation is not None]
        parts = [table(COLUMNS, rows, "llrrrlrrrl"), "", *(line.format(runs=runs) for line in NOTES), ""]
    parts += [f"FAILED {row.case.name}: {row.failure}" for row in failed]
    parts += [""] if failed else []
    return "\n".join([*parts, *_machine(session), "", *_verdicts(session)])


def operations_text(file: str, cpu: str, fixed: int, operations: Sequence[tuple[str, str, int]]) -> str:
    """A profile: what a call takes without an operation, and of each operation its name, output and instructions."""
    total = fixed + sum(count for _, _, count in operations)
    rows = [("-", "(the call itself)", "", fixed), *((str(place), *each) for place, each in enumerate(operations, 1))]
    rows.append(("-", "the whole file", "", total))
    shown = [[number, name, output, f"{count:,}", f"{count / total:.1%}"] for number, name, output, count in rows]
    return "\n".join(
        [
            f"{file} on an emulated {cpu}",
            "",
            table(("#", "operation", "output", "instructions/image", "share"), shown, "rllrr"),
            "",
            "Instructions are no time. An operation's are those that it adds to the ones before it; where the engine",
            "fuses two, the first has too many and the second too few.",
        ]
    )


def cells(row: Measurement) -> dict[str, str | float | None]:
    """What a line of CSV says of an emulation; None where there was none."""
    names = ("emulated_cpu", "instructions", "instructions_spread", "compared_images", "largest_difference")
    known = row.emulation
    if known is None:
        return dict.fromkeys(names)
    values = (known.cpu, known.middle, spread(known.instructions), known.images, known.largest_difference)
    return dict(zip(names, values, strict=True))


def _row(row: Measurement, emulation: Emulation, session: Session) -> list[str]:
    accuracy = ["not scored", "-"]
    if row.accuracy is not None:
        low, high = wilson(row.accuracy.correct, row.accuracy.images)
        share = 100 * row.accuracy.correct / row.accuracy.images
        accuracy = [f"{share:.2f} % of {row.accuracy.images}", f"{100 * low:.2f} to {100 * high:.2f}"]
    counts = emulation.instructions
    return [
        row.case.name, row.case.recipe or "not recorded", f"{row.case.bytes:,}", *accuracy, "emulated",
        f"{emulation.middle:,}", f"{spread(counts):.2%}" if len(counts) > 1 else "-",
        _ratio(row, emulation, session), _same(emulation),
    ]  # fmt: skip


def _ratio(row: Measurement, emulation: Emulation, session: Session) -> str:
    """Against the float32 file of the same bundle."""
    for other in session.measurements:
        same = row.case.bundle is not None and other.case.bundle == row.case.bundle
        if same and other.case.recipe == "float32" and other.emulation is not None:
            return f"{emulation.middle / other.emulation.middle:.2f}"
    return "-"


def _same(emulation: Emulation) -> str:
    where = f"on {emulation.images:,} images"
    off = emulation.largest_difference
    if off == 0:
        return f"identical {where}"
    return f"within {off:g} steps {where}" if off >= 1 else f"within {off:.1g} {where}"


def _machine(session: Session) -> list[str]:
    machine = session.machine
    known = ", ".join(name for name in FEATURES if name in machine.features) or "no int8 dot product"
    engines = sorted({row.engine for row in session.measurements if row.engine is not None})
    return [
        f"machine emulated {machine.cpu}, {machine.architecture} ({known})",
        f"        {machine.system}, Python {machine.python}, {', '.join(engines) or 'no engine'}, "
        f"edgecnn {session.edgecnn}",
    ]


def _verdicts(session: Session) -> list[str]:
    lines = [f"verdict {session.verdict.level}", *(f"        {reason}" for reason in session.verdict.reasons)]
    for row in session.measurements:
        lines += [f"        {row.case.name}: {reason}" for reason in row.verdict.reasons]
    return lines
