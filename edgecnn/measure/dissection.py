"""What a profile measured, and what follows from it: the cost of each operation, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import UsageError
from edgecnn.measure import stats
from edgecnn.measure.machine import Machine, State
from edgecnn.measure.measurement import LIMIT, MOST_RUNS, Case, bring_up
from edgecnn.measure.stats import Interval
from edgecnn.measure.trust import INVALID, Verdict
from edgecnn.runtime.records import check_texts, decode_file, read_json, schema_of

SCHEMA = 2  # 1 had no case.sample
SUM_LIMIT = 0.10  # by how much the sum of the operations may miss the whole


@dataclass(frozen=True)
class Operation:
    """One operation of a file, its facts, and nanoseconds of the median call of its slices in each run.

    ``prefix`` is the model that ends with it, ``alone`` the model of nothing else, empty with a ``failure`` where that
    cannot be run. ``shape`` and ``dtype`` are of its output, ``macs`` for one image, ``module`` the PyTorch module it
    comes from. ``inside`` the delegate or not; ``alike`` when the delegate takes of the prefix what it takes of it in
    the whole file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    module: str | None
    macs: int | None
    inside: bool
    alike: bool
    prefix: tuple[float, ...]
    alone: tuple[float, ...]
    failure: str | None


@dataclass(frozen=True)
class Cost:
    """Microseconds per image that something takes, and their 95 % interval; of less than 5 runs, their whole span."""

    middle: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether it is surely more than nothing."""
        return self.low > 0


@dataclass(frozen=True)
class Profile:
    """A whole profile; ``whole`` and ``empty`` are nanoseconds of the median call of the file, and of the file without
    operations, in each run.
    """

    edgecnn: str
    created: str
    machine: Machine
    case: Case
    engine: str
    pin: tuple[int, ...]
    states: tuple[State, ...]
    verdict: Verdict
    partitions: int
    whole: tuple[float, ...]
    empty: tuple[float, ...]
    operations: tuple[Operation, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        runs = len(self.empty)
        if not runs or not self.whole or not self.states:
            raise UsageError("a profile needs a state of the machine, and times of the file and of the empty one")
        if max(runs, len(self.whole)) > MOST_RUNS:
            raise UsageError(f"a profile of {max(runs, len(self.whole))} runs (valid: up to {MOST_RUNS})")
        if min(*self.whole, *self.empty) <= 0:
            raise UsageError("a time of the file, or of the empty one, is not above 0")
        for each in self.operations:
            if len(each.prefix) != runs or len(each.alone) not in (0, runs):
                raise UsageError(f"{each.name} has other runs than the {runs} of the empty file")

    @property
    def invalid(self) -> bool:
        """Whether the machine did what no figure survives."""
        return self.verdict.level == INVALID

    def cost_of_whole(self) -> Cost:
        """What a call of the file takes."""
        return self._cost(self.whole)

    def cost_of_call(self) -> Cost:
        """What a call takes before anything is computed."""
        return self._cost(self.empty)

    def costs(self) -> list[Cost]:
        """What each operation adds to the model that ends before it, run by run."""
        ends = [self.empty, *(operation.prefix for operation in self.operations)]
        return [self._cost(np.subtract(end, start)) for start, end in pairwise(ends)]

    def costs_alone(self) -> list[Cost | None]:
        """What each operation takes when nothing is around it, without the call; None where it cannot be run."""
        return [
            self._cost(np.subtract(operation.alone, self.empty)) if operation.alone else None
            for operation in self.operations
        ]

    def document(self) -> dict[str, Any]:
        """The JSON document, with the costs, in microseconds per image."""
        document = {"schema": self.schema} | dataclasses.asdict(self)
        shown = zip(document["operations"], self.costs(), self.costs_alone(), strict=True)
        for entry, cost, alone in shown:
            entry["cost"] = dataclasses.asdict(cost)
            entry["share"] = cost.middle / self.cost_of_whole().middle
            entry["cost_alone"] = None if alone is None else dataclasses.asdict(alone)
        costs = {"whole": self.cost_of_whole(), "call": self.cost_of_call()}
        return document | {"cost": {name: dataclasses.asdict(cost) for name, cost in costs.items()}}

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read what ``edgecnn profile --json`` printed; costs in the file are left out and computed anew.

        Raises BadFileError naming the file and the field.
        """
        return cls.parse(read_json(path, LIMIT), path)

    @classmethod
    def parse(cls, document: Any, path: Path) -> Profile:
        """The JSON value in the file ``path``, which is changed. Raises BadFileError naming file and field."""
        check_texts(document, path)
        version = schema_of(document, SCHEMA, path)
        if isinstance(document, dict):
            document.pop("cost", None)
            bring_up(document, version)
            entries = document.get("operations")
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, dict):
                    for name in ("cost", "share", "cost_alone"):
                        entry.pop(name, None)
        profile: Profile = decode_file(cls, document, path)
        return profile

    def _cost(self, nanoseconds: Sequence[float] | np.ndarray) -> Cost:
        values = [float(value) / 1000 / self.case.batch for value in nanoseconds]
        low, high = stats.median_interval(values) or Interval(min(values), max(values))
        return Cost(float(np.median(values)), low, high)
