"""Benches put together by hand: every run's time, every count, every field of the machine is what a test says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from edgecnn.measure.measurement import Case, Emulation, Energy, Measurement, Run, Session, Settings
from edgecnn.measure.trust import VALID, Verdict
from edgecnn.runtime.manifest import Accuracy
from tests.measure.scripted import MACHINE, QUIET, after, case

FINE = Verdict(VALID)
PLAIN = Settings()
FAST = (100.0, 101.0, 102.0, 103.0, 104.0)


def row(
    file: str = "a.tflite",
    times: Sequence[float] = FAST,
    *,
    right: tuple[int, int] | None = None,
    joules: float | None = None,
    instructions: tuple[int, ...] = (),
    grown: int = 2_000_000,
    load: int = 3_000_000,
    failure: str | None = None,
    verdict: Verdict = FINE,
    engine: str = "engine 1",
    bundle: str | None = "some/bundle",
    **changes: Any,
) -> Measurement:
    """A measurement whose runs took ``times`` microseconds; ``changes`` are of its case."""
    return Measurement(
        dataclasses.replace(case(file, bundle), **changes),
        engine if failure is None else None,
        failure,
        () if failure else tuple(run(each, grown, load) for each in times),
        None if right is None else Accuracy(*right),
        Energy(joules, "a meter" if joules else None, False, None if joules else "no meter here"),
        verdict,
        emulation=Emulation("cortex-a72", instructions, 10, 0.0) if instructions else None,
    )


def run(microseconds: float, grown: int, load: int) -> Run:
    """Eleven calls of a length and one three times as long."""
    time = round(microseconds * 1000)
    samples = (*(time,) * 11, 3 * time)
    return Run(1_000_000, 2_000_000, load, 500_000, 10_000_000, 10_000_000 + grown, 50, (), (), samples)


def session(*rows: Measurement, verdict: Verdict = FINE, settings: Settings = PLAIN, **machine: Any) -> Session:
    """A session of these rows; ``machine`` are changes of the scripted one."""
    return Session(
        "0.1.0", "2026-01-31T12:00:00Z", dataclasses.replace(MACHINE, **machine), settings, (QUIET, after()), verdict,
        rows or (row(),),
    )  # fmt: skip


def slower(share: float, times: Sequence[float] = FAST) -> tuple[float, ...]:
    """The times, each longer by the share."""
    return tuple(each * (1 + share) for each in times)


def renamed(measurement: Measurement, **changes: Any) -> Measurement:
    """The same with another case."""
    new: Case = dataclasses.replace(measurement.case, **changes)
    return dataclasses.replace(measurement, case=new)
