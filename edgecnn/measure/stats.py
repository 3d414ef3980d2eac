"""Intervals and tests for accuracies, in the standard library and numpy alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgecnn.errors import UsageError

Z95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson(correct: int, images: int) -> Interval:
    """95 % interval of an accuracy, as shares 0 to 1.

    Score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927). Raises UsageError unless 0 <= correct <= images and images > 0.
    """
    if not 0 <= correct <= images or images == 0:
        raise UsageError(f"{correct} correct of {images} images is no accuracy")
    share, extra = correct / images, Z95 * Z95 / images
    centre = (share + extra / 2) / (1 + extra)
    half = Z95 / (1 + extra) * math.sqrt(share * (1 - share) / images + extra / (4 * images))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def paired_change(only_first: int, only_second: int, images: int) -> Interval:
    """95 % interval of (second - first) accuracy in points, for two models scored on the same images.

    ``only_first`` images were right with the first model alone, ``only_second`` with the second alone. Method:
    Wald interval after adding 1/2 to each cell of the 2 x 2 table, "Wald+2" of A. Agresti and Y. Min, "Simple
    improved confidence intervals for comparing matched proportions", Statistics in Medicine 24 (2005). Two models
    that mostly agree leave few discordant images; there the plain Wald interval covers far too seldom (as low as
    70 % on 300 images) and this one, being slightly wide, does not. Raises UsageError for impossible counts.
    """
    if min(only_first, only_second) < 0 or images < 1 or only_first + only_second > images:
        raise UsageError(f"{only_first} and {only_second} discordant images of {images} are no comparison")
    first, second, total = only_first + 0.5, only_second + 0.5, images + 2
    change = (second - first) / total
    half = Z95 * math.sqrt(first + second - (second - first) ** 2 / total) / total
    return Interval(100 * max(-1.0, change - half), 100 * min(1.0, change + half))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two models are equally accurate, from the images only one of them had right.

    Under that hypothesis each discordant image falls to either model like a fair coin: the p-value is twice the
    binomial tail, at most 1. Q. McNemar, Psychometrika 12 (1947), in its exact form. Computed in whole numbers.
    """
    discordant = only_first + only_second
    term = tail = 1  # C(discordant, 0)
    for count in range(min(only_first, only_second)):
        term = term * (discordant - count) // (count + 1)
        tail += term
    return min(1.0, 2 * tail / 2**discordant)


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of images, 0 to 1, on which two models predict the same class; both int64 [n]. Raises UsageError."""
    if first.shape != second.shape or first.ndim != 1 or len(first) == 0:
        raise UsageError(f"predictions {list(first.shape)} and {list(second.shape)} are not of the same images")
    return float(np.mean(first == second))
