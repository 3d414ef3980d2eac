"""What ``--fail-on`` asks: which figures may become worse from one bench to the next, and by how much.

    latency:p50:5%,accuracy:0.5pp,bytes:1kB

A limit is METRIC:LIMIT or METRIC:STATISTIC:LIMIT, several with commas; LIMIT is a number and a unit of the metric.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgecnn.errors import UnknownNameError, UsageError

RELATIVE, POINTS = "%", "pp"
SIZES = {"B": 1, "kB": 1000, "MB": 1_000_000}


@dataclass(frozen=True)
class Metric:
    """What can be limited: its units and statistics, the first of which is meant when none is named."""

    units: tuple[str, ...] = (RELATIVE,)
    statistics: tuple[str, ...] = ()

    @property
    def forms(self) -> str:
        """How a limit on it may be written, for messages."""
        names = f"[{'|'.join(self.statistics)}]:" if self.statistics else ""
        return f"{names}NUMBER followed by {' or '.join(self.units)}"


METRICS = {
    "latency": Metric(statistics=("p50", "p90", "p99", "mean", "min")),
    "cold_start": Metric(),
    "memory": Metric((RELATIVE, *SIZES)),
    "energy": Metric(),
    "accuracy": Metric((POINTS,)),
    "bytes": Metric((RELATIVE, *SIZES)),
    "instructions": Metric(),
}


@dataclass(frozen=True)
class Limit:
    """A figure may become worse by ``amount`` of ``unit``; ``statistic`` is None where the metric has but one."""

    metric: str
    statistic: str | None
    amount: float
    unit: str

    @property
    def name(self) -> str:
        """The figure's name: ``latency p50``."""
        return f"{self.metric} {self.statistic}" if self.statistic else self.metric

    @property
    def text(self) -> str:
        """The limit itself: ``5 %``."""
        return f"{self.amount:g} {self.unit}"

    def worse(self, old: float, new: float) -> float:
        """By how much ``new`` is worse than ``old``, in ``unit``; below 0 when it is better.

        More is worse, but for accuracy, a share from 0 to 1, where less is.
        """
        if self.unit == POINTS:
            return 100 * (old - new)
        return 100 * (new - old) / old if self.unit == RELATIVE else (new - old) / SIZES[self.unit]

    def exceeded(self, old: float, new: float) -> bool:
        """Whether that is more than the limit; what rounding of floats adds does not count."""
        return self.worse(old, new) > self.amount + 1e-9


def parse_limits(text: str) -> tuple[Limit, ...]:
    """The limits of a ``--fail-on``. Raises UnknownNameError or UsageError saying what arrived and what is allowed."""
    limits = tuple(_parse(word.strip()) for word in text.split(",") if word.strip())
    if not limits:
        raise UsageError(f"--fail-on '{text}' names no limit; give some, as in latency:p50:5%,accuracy:0.5pp,bytes:1%")
    names = [limit.name for limit in limits]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"--fail-on '{text}' limits {twice} twice; give one limit for each figure")
    return limits


def _parse(word: str) -> Limit:
    name, *rest = word.split(":")
    if name not in METRICS:
        raise UnknownNameError("metric in --fail-on", name, METRICS)
    metric = METRICS[name]
    statistic = metric.statistics[0] if metric.statistics else None
    if len(rest) == 2 and metric.statistics:
        statistic = rest.pop(0)
        if statistic not in metric.statistics:
            raise UnknownNameError(f"statistic in --fail-on '{word}'", statistic, metric.statistics)
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([A-Za-z%]+)", rest[0]) if len(rest) == 1 else None
    if match is None or match[2] not in metric.units:
        raise UsageError(f"--fail-on '{word}' is no limit on {name} (valid: {name}:{metric.forms})")
    return Limit(name, statistic, float(match[1]), match[2])
