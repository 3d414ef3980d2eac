"""What one image costs on a target, in microseconds or in instructions, and when two costs differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edgecnn.errors import UntrustworthyError
from edgecnn.measure import stats
from edgecnn.measure.figures import medians
from edgecnn.measure.measurement import Measurement, Session
from edgecnn.measure.speed import SIGNIFICANT
from edgecnn.measure.trust import VALID

TIME, INSTRUCTIONS = "time", "instructions"
UNITS = {TIME: "microseconds", INSTRUCTIONS: "instructions"}
# Share by which the counts of two files must lie apart: a count of one and the same file repeats to a tenth of that.
COUNTED = 0.002

Runs = tuple[float, ...]  # the cost of an image in each run, in the unit of the kind


@dataclass(frozen=True)
class Costs:
    """Files measured together: of each its runs, or the reason why it has none.

    ``kind`` is TIME or INSTRUCTIONS, ``doubts`` what speaks against the figures.
    """

    kind: str
    cpu: str
    engine: str
    rows: tuple[Runs | str, ...]
    doubts: tuple[str, ...] = ()


class Measure(Protocol):
    """Measures .tflite files on one target; ``kind`` is TIME or INSTRUCTIONS, ``exact`` as many runs as judge."""

    kind: str

    def screen(self, paths: Sequence[Path]) -> Sequence[Runs | str]:
        """Roughly, to see which files are worth measuring well."""
        ...

    def decide(self, paths: Sequence[Path]) -> Costs:
        """All files by turns, in enough runs to tell them apart."""
        ...


def costs_of(session: Session) -> Costs:
    """The costs in a bench of .tflite files. Raises UntrustworthyError when the machine throttled."""
    if session.invalid:
        raise UntrustworthyError(f"nothing was chosen, the figures are INVALID: {'; '.join(session.verdict.reasons)}")
    rows = session.measurements
    engines = sorted({row.engine for row in rows if row.engine is not None})
    emulated = session.machine.emulated
    verdicts = [session.verdict, *(row.verdict for row in rows)]
    doubts = [reason for verdict in verdicts if verdict.level != VALID for reason in verdict.reasons]
    return Costs(
        INSTRUCTIONS if emulated else TIME,
        session.machine.board or session.machine.cpu,
        ", ".join(engines) or "no engine",
        tuple(_runs(row) for row in rows),
        tuple(dict.fromkeys(doubts)),
    )


def _runs(row: Measurement) -> Runs | str:
    if row.failure is not None:
        return row.failure
    if row.emulation is not None:
        return tuple(float(count) for count in row.emulation.instructions)
    return tuple(medians(row))


def middle(runs: Runs) -> float:
    """The cost that stands for all runs: their median."""
    return float(np.median(runs))


def dearer(kind: str, first: Runs, second: Runs) -> bool:
    """Whether ``first`` costs more than ``second`` by more than noise.

    Times are tested by ``stats.differ`` on the runs, which took turns; instructions repeat, and differ by more than
    COUNTED.
    """
    if middle(first) <= middle(second):
        return False
    if kind == INSTRUCTIONS:
        return middle(first) > middle(second) * (1 + COUNTED)
    return stats.differ(first, second, stats.BY_TURNS) < SIGNIFICANT
