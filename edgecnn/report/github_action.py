"""A bench session for github-action-benchmark, tool ``customSmallerIsBetter``: a list of figures that should fall.

Each has ``name``, ``unit`` and ``value``, may have ``range`` (it reads ``± number``), and ``extra`` is the text of its
tooltip. A row that is INVALID has another name, so that its figures do not end in the curve of the valid ones.
"""

from __future__ import annotations

import json
from typing import Any

from edgecnn.measure.figures import figures
from edgecnn.measure.measurement import Measurement, Session
from edgecnn.measure.stats import wilson
from edgecnn.measure.trust import VALID
from edgecnn.report.google_benchmark import full_name


def github_action(session: Session) -> str:
    """The JSON document."""
    entries = [entry for row in session.measurements for entry in _entries(row, session)]
    return json.dumps(entries, indent=2, allow_nan=False, ensure_ascii=False)


def _entries(row: Measurement, session: Session) -> list[dict[str, Any]]:
    extra = _extra(row, session)
    entries = [_entry(row, "size", "bytes", row.case.bytes, None, extra)]
    if row.runs:
        known = figures(row)
        interval = known.p50_interval
        half = None if interval is None else max(interval.high - known.p50, known.p50 - interval.low)
        entries.append(_entry(row, "p50", "us/image", known.p50, half, extra))
        if known.memory_bytes is not None:
            entries.append(_entry(row, "memory", "bytes", known.memory_bytes, None, extra))
    if row.emulation is not None:
        counts = row.emulation.instructions
        half = (max(counts) - min(counts)) / 2
        entries.append(_entry(row, "instructions", "instructions/image", row.emulation.middle, half, extra))
    if row.accuracy is not None:
        wrong = row.accuracy.images - row.accuracy.correct
        low, high = wilson(wrong, row.accuracy.images)
        share = wrong / row.accuracy.images
        half = 100 * max(high - share, share - low)
        entries.append(_entry(row, "wrong images", "%", 100 * share, half, extra))
    return entries


def _entry(row: Measurement, what: str, unit: str, value: float, half: float | None, extra: str) -> dict[str, Any]:
    entry = {"name": f"{full_name(row)} {what}", "unit": unit, "value": value}
    return entry | ({} if half is None else {"range": f"± {half:.2f}"}) | {"extra": extra}


def _extra(row: Measurement, session: Session) -> str:
    """What is to be known beside the figures, the worst first."""
    lines = [f"FAILED: {row.failure}"] if row.failure is not None else []
    if row.verdict.level != VALID:
        lines.append(f"{row.verdict.level}: {'; '.join(row.verdict.reasons)}")
    if row.accuracy is not None:
        lines.append(f"accuracy on {row.accuracy.images} images")
    if row.runs:
        lines.append(f"{len(row.runs)} runs, each a new process; 95 % interval of the median")
    return "\n".join([*lines, row.engine or "not opened", session.machine.cpu])
