"""From a measurement's raw samples to the figures that people read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgecnn.measure import stats
from edgecnn.measure.measurement import Measurement, Run
from edgecnn.measure.stats import Interval


@dataclass(frozen=True)
class Figures:
    """Microseconds per image, images per second, milliseconds of a cold start, bytes of memory.

    Every figure is taken in each run, and the median over the runs counts, so that one disturbed run does not; but
    ``minimum`` is that of all samples. ``p50_interval`` is stats.median_interval; ``spread`` is stats.spread of the
    runs' medians. ``memory_bytes`` is the peak over an empty runtime. None means: could not be had.
    """

    p50: float
    p50_interval: Interval | None
    p90: float
    p99: float
    minimum: float
    mean: float
    spread: float
    images_per_second: float
    cold_start: float
    cold_process: float
    cold_imports: float
    cold_load: float
    cold_first: float
    memory_bytes: float | None
    overhead_nanoseconds: float
    samples: int


def medians(measurement: Measurement) -> list[float]:
    """Each run's median, in microseconds per image."""
    return [float(np.median(run.samples)) / 1000 / measurement.case.batch for run in measurement.runs]


def figures(measurement: Measurement) -> Figures:
    """The figures of a measurement that has at least one run."""
    runs, batch = measurement.runs, measurement.case.batch

    def middle(value: Callable[[Run], float]) -> float:
        return float(np.median([value(run) for run in runs]))

    def percentile(share: int) -> float:
        return middle(lambda run: float(np.percentile(run.samples, share)) / 1000 / batch)

    mean = middle(lambda run: float(np.mean(run.samples)) / 1000 / batch)
    grown = [run.peak_bytes - run.base_bytes for run in runs if run.peak_bytes and run.base_bytes]
    return Figures(
        p50=percentile(50),
        p50_interval=stats.median_interval(medians(measurement)),
        p90=percentile(90),
        p99=percentile(99),
        minimum=min(min(run.samples) for run in runs) / 1000 / batch,
        mean=mean,
        spread=stats.spread(medians(measurement)),
        images_per_second=1e6 / mean,
        cold_start=middle(lambda run: (run.start + run.imports + run.load + run.first) / 1e6),
        cold_process=middle(lambda run: run.start / 1e6),
        cold_imports=middle(lambda run: run.imports / 1e6),
        cold_load=middle(lambda run: run.load / 1e6),
        cold_first=middle(lambda run: run.first / 1e6),
        memory_bytes=float(np.median(grown)) if grown else None,
        overhead_nanoseconds=middle(lambda run: run.overhead),
        samples=sum(len(run.samples) for run in runs),
    )
