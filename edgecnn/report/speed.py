"""The verdict on speed as lines of text; pure formatting."""

from __future__ import annotations

from pathlib import Path

from edgecnn.measure.measurement import Measurement, Session
from edgecnn.measure.speed import FASTER, SIGNIFICANT, Speed, speeds

TITLE, INDENT = "speed   ", " " * 8


def lines(session: Session) -> list[str]:
    """A line for every quantized file, and below one that is not fast enough, what was found to be the cause."""
    shown: list[str] = []
    for each in speeds(session):
        shown.append(f"{INDENT}{headline(session, each)}")
        shown += [f"{INDENT}  {line}" for line in explanation(session, each)]
    if shown:
        shown[0] = TITLE + shown[0][len(INDENT) :]
    return shown


def headline(session: Session, speed: Speed) -> str:
    """Which file, how many times as fast as which other one, and how sure that is."""
    row, other = session.measurements[speed.quantized], session.measurements[speed.float32]
    interval = "" if speed.interval is None else f" (95 %: {speed.interval[0]:.2f} to {speed.interval[1]:.2f})"
    words = f"{_name(row)}: {speed.ratio:.2f} times as fast as {Path(other.case.file).name}{interval}"
    if speed.fast:
        return words
    if speed.p >= SIGNIFICANT:
        return f"{words}, which is no difference that could be told (p = {speed.p:.2f})"
    return f"{words}, {'which is slower' if speed.ratio < 1 else f'less than {FASTER}'}"


def explanation(session: Session, speed: Speed) -> list[str]:
    """What was found against the speed of a file that is not fast, or what was looked at in vain; and where to look."""
    if speed.fast:
        return []
    case = session.measurements[speed.quantized].case
    found = [f"- {reason}" for reason in speed.reasons]
    if not found:
        found = [f"no cause found by what was checked: {', '.join(speed.checked)}"]
    if Path(case.file).suffix == ".tflite":
        return [*found, f"'edgecnn profile {case.file}' tells where its time goes"]
    return [*found, "operations, partitions and the fixed cost of a call are only looked at in .tflite files"]


def _name(row: Measurement) -> str:
    case = row.case
    threads = "" if case.threads == 1 else f", {case.threads} threads"
    batch = "" if case.batch == 1 else f", batch {case.batch}"
    return f"{case.name} in {case.runtime}{threads}{batch}"
