"""What a bundle says of the target that it was made for: what was tried there, what that cost, what was chosen."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgecnn.errors import UsageError

KINDS = {"time": "microseconds", "instructions": "instructions"}  # and their units


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


@dataclass(frozen=True)
class Trial:
    """A file that was tried: how it was made, and the cost of an image in each run, or why it has none.

    ``screened`` are the runs that decided whether it was measured well, ``runs`` those by turns with all others that
    came so far; ``chosen`` files are in the bundle.
    """

    recipe: str
    passes: tuple[str, ...]
    float_layers: tuple[str, ...]
    bytes: int | None
    sha256: str | None
    screened: tuple[float, ...] = ()
    runs: tuple[float, ...] = ()
    failure: str | None = None
    chosen: bool = False

    def __post_init__(self) -> None:
        _check(self.bytes is None or self.bytes > 0, f"bytes of a trial is {self.bytes}, but must be at least 1")
        _check(
            self.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", self.sha256) is not None,
            "sha256 of a trial must be 64 lower-case hex digits",
        )
        for value in (*self.screened, *self.runs):
            _check(math.isfinite(value) and value > 0, f"a trial cost {value}, but must cost more than nothing")
        _check(not self.chosen or bool(self.runs), "a trial was chosen that was not measured")


@dataclass(frozen=True)
class MadeFor:
    """The target, how files were measured there, all that were tried, and why those that were chosen are the ones.

    ``kind`` is a key of KINDS; ``float_is_best`` says that the float32 file costs less than any quantized one;
    ``doubts`` is what speaks against the figures.
    """

    target: str
    kind: str
    cpu: str
    engine: str
    trials: tuple[Trial, ...]
    why: str
    float_is_best: bool
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.kind in KINDS, f"kind is '{self.kind[:60]}' (valid: {', '.join(KINDS)})")
        _check(any(trial.chosen for trial in self.trials), "made_for holds no trial that was chosen")

    @property
    def unit(self) -> str:
        """Of every cost."""
        return KINDS[self.kind]
