"""What two answers to the same images say about a file, and what repeated counts say about each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecnn.deploy.emulated_arm.cpus import System
from edgecnn.deploy.self_test import INEXACT_STEPS
from edgecnn.errors import CheckFailedError
from edgecnn.measure.stats import spread

SPREAD_LIMIT = 0.02  # between the counts of the same file


def largest_difference(system: System, there: dict[str, Any], here: dict[str, Any]) -> float:
    """The largest difference of two answers to "outputs" (see device.py): steps of an integer type, else as float.

    Raises CheckFailedError when it is more than the system allows, or the answers do not fit together.
    """
    if there["dtype"] != here["dtype"]:
        raise CheckFailedError(f"gives {there['dtype']} there, but {here['dtype']} here")
    ours, theirs = (np.array(answer["outputs"], np.float64) for answer in (here, there))
    if ours.shape != theirs.shape:
        raise CheckFailedError(f"gives {list(theirs.shape)} outputs there, but {list(ours.shape)} here")
    differences = np.abs(theirs - ours).max(axis=1)
    real = there["dtype"] == "float32"
    steps = system.steps if there["exact"] else max(system.steps, INEXACT_STEPS)
    limit = system.tolerance if real else steps
    wrong = ~(differences <= limit)  # so that NaN is wrong
    if wrong.any():
        worst = differences.max()
        size = f"{worst:.2g}" if real else f"{worst:g} steps of {there['dtype']}"
        allowed = f"{limit:g}" if limit else "none"
        raise CheckFailedError(
            f"gives other outputs than on this machine for {int(wrong.sum()):,} of {len(wrong):,} images: the largest "
            f"difference is {size} (allowed: {allowed}; {there['engine']} there, {here['engine']} here)"
        )
    return float(differences.max())


def check_counts(counts: Sequence[int]) -> None:
    """Raise CheckFailedError when counts of the same file differ by more than SPREAD_LIMIT."""
    if spread(counts) > SPREAD_LIMIT:
        raise CheckFailedError(
            f"took from {min(counts):,} to {max(counts):,} instructions in {len(counts)} counts, {spread(counts):.1%} "
            f"apart (limit {SPREAD_LIMIT:.0%}); a count that does not repeat says nothing"
        )
