"""What is searched, as one table: width, depth, kernel, resolution and expansion of a design, what share of its
multiply-accumulates is kept when it is pruned (1: it is not), and how it is trained.

The form is that of ``models.edge``: dense convolutions where images are large, inverted bottlenecks where they are
small. Where the stem or a stage has stride 2 is where the resolution falls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from optuna import Trial

from edgecnn.models.design import Design, Stage

Value = int | float | str


@dataclass(frozen=True)
class Choice:
    """One of a few values that have no order."""

    values: tuple[Value, ...]

    def draw(self, trial: Trial, name: str) -> Value:
        """The trial's."""
        drawn = trial.suggest_categorical(name, self.values)
        assert drawn is not None
        return drawn

    def any(self, random: np.random.Generator) -> Value:
        """Any of them, as likely as each other."""
        return self.values[int(random.integers(len(self.values)))]


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high`` in steps."""

    low: int
    high: int
    step: int = 1

    def draw(self, trial: Trial, name: str) -> Value:
        """The trial's."""
        return trial.suggest_int(name, self.low, self.high, step=self.step)

    def any(self, random: np.random.Generator) -> Value:
        """Any of them, as likely as each other."""
        return int(self.low + self.step * random.integers((self.high - self.low) // self.step + 1))


@dataclass(frozen=True)
class Real:
    """A number from ``low`` to ``high``, as likely in each octave if ``log``."""

    low: float
    high: float
    log: bool = False

    def draw(self, trial: Trial, name: str) -> Value:
        """The trial's."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def any(self, random: np.random.Generator) -> Value:
        """Any of them, as likely as ``draw`` has it."""
        if self.log:
            return float(np.exp(random.uniform(np.log(self.low), np.log(self.high))))
        return float(random.uniform(self.low, self.high))


SPACE: dict[str, Choice | Whole | Real] = {
    "stem_channels": Whole(8, 24, 8),
    "stem_kernel": Choice((3, 5)),
    "stem_stride": Choice((1, 2)),
    "early_kind": Choice(("c", "r")),
    "early_channels": Whole(16, 48, 8),
    "early_depth": Whole(1, 2),
    "middle_channels": Whole(24, 64, 8),
    "middle_expansion": Whole(2, 6),
    "middle_kernel": Choice((3, 5)),
    "middle_depth": Whole(1, 5),
    "late_channels": Whole(40, 120, 8),
    "late_expansion": Whole(2, 6),
    "late_kernel": Choice((3, 5)),
    "late_depth": Whole(1, 4),
    "kept": Choice((1.0, 0.7, 0.5)),
    "learning_rate": Real(0.02, 0.1, log=True),
    "weight_decay": Real(0.02, 0.1, log=True),
    "label_smoothing": Real(0.0, 0.2),
}
OPTIMIZER = "muon"  # what the ranges of its rate and decay are around
RECIPE = ("learning_rate", "weight_decay", "label_smoothing")
DIGITS = 3  # of a training setting that count; the command to train in full repeats them


@dataclass(frozen=True)
class Candidate:
    """A design, the share of its multiply-accumulates that pruning keeps, and the settings of ``TrainRecipe`` it is
    trained with."""

    design: Design
    kept: float
    recipe: Mapping[str, float]

    @classmethod
    def draw(cls, trial: Trial) -> Candidate:
        """The candidate of a trial."""
        return cls.of({name: each.draw(trial, name) for name, each in SPACE.items()})

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Candidate:
        """The candidate that a value for each name of SPACE makes."""

        def whole(name: str) -> int:
            return int(values[name])

        stages = (
            Stage("c", whole("stem_channels"), kernel=whole("stem_kernel"), stride=whole("stem_stride")),
            Stage(str(values["early_kind"]), whole("early_channels"), stride=2, depth=whole("early_depth")),
            *(
                Stage("b", whole(f"{name}_channels"), kernel=whole(f"{name}_kernel"),
                      expansion=whole(f"{name}_expansion"), stride=stride, depth=whole(f"{name}_depth"))
                for name, stride in (("middle", 1), ("late", 2))
            ),
        )  # fmt: skip
        recipe = {name: float(f"{values[name]:.{DIGITS}g}") for name in RECIPE}
        return cls(Design(stages), float(values["kept"]), recipe)


def digest() -> str:
    """What tells two spaces apart."""
    return hashlib.sha256(repr(SPACE).encode()).hexdigest()[:12]
