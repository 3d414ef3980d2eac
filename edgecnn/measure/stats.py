"""Intervals and tests for accuracies and for latencies, in the standard library and numpy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgecnn.errors import UsageError

FEWEST_RUNS = 5  # the span of fewer covers their median in less than 93.75 % of cases
RESAMPLES = 10_000
MOST_ADDED = 2e8  # additions for an exact rank_sum, some seconds on a board: 70 runs a side, or 5 beside 300

# By how much a file may differ from itself before a difference is looked into: rows of one bench, which took turns,
# and rows of two benches, between which a machine drifts. Chosen with benchmarks/same_twice.py on 40 pairs of an int8
# file on a busy virtual machine, where without them 2 of 40 and 4 of 39 pairs differed at 5 %. With them none did, nor
# did any of 40 and 39 pairs of a float file, measured afterwards.
BY_TURNS = 0.01
OF_TWO_BENCHES = 0.03

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


def sqnr(exact: np.ndarray, found: np.ndarray) -> float | None:
    """Signal to quantization noise in dB of values ``found`` against ``exact``; None where they are equal."""
    if exact.shape != found.shape:
        raise UsageError(f"values {list(exact.shape)} and {list(found.shape)} are not of the same images")
    noise = float(np.mean(np.square(found.astype(np.float64) - exact)))
    signal = float(np.mean(np.square(exact.astype(np.float64))))
    return 10 * math.log10(signal / noise) if signal and noise else None


def median_interval(runs: Sequence[float]) -> Interval | None:
    """95 % interval of the median of the runs' values, each the median of one run; None for less than FEWEST_RUNS.

    From the k-th smallest to the k-th largest run, k as large as leaves 95 % (W. R. Thompson, Annals of Mathematical
    Statistics 7 (1936)): whatever their distribution, so many runs lie on either side of its median. Runs count, never
    samples: those within a run resemble each other, and a process has a speed of its own by the luck of its memory
    layout. With 5 runs it is their span, which covers 93.75 %.
    """
    if len(runs) < FEWEST_RUNS:
        return None
    left_out, _ = _order_statistics(len(runs))
    ordered = sorted(runs)
    return Interval(float(ordered[left_out]), float(ordered[-1 - left_out]))


def median_method(count: int) -> str:
    """How ``median_interval`` comes from ``count`` runs, FEWEST_RUNS or more, and how often it holds the median."""
    left_out, missed = _order_statistics(count)
    span = "their span" if left_out == 0 else f"their span without the {left_out} lowest and highest"
    return f"order statistics of {count} runs, {span}: right {100 * (1 - missed):.1f} % of the time"


def _order_statistics(count: int) -> tuple[int, float]:
    """Runs to leave out at either end, and how often the rest then misses the median."""
    left_out, missed = 0, 2 / 2**count
    while missed + 2 * math.comb(count, left_out + 1) / 2**count <= 0.05:
        left_out += 1
        missed += 2 * math.comb(count, left_out) / 2**count
    return left_out, missed


def ratio_interval(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """95 % interval of the median of ``first`` over that of ``second``; None for less than FEWEST_RUNS on a side.

    Bootstrap: whole runs are drawn from either side, each for itself. Percentiles of 10,000 draws, the same in every
    call; they cover 95 to 97 % with 5 to 10 runs a side.
    """
    if min(len(first), len(second)) < FEWEST_RUNS:
        return None
    dice = np.random.default_rng(0)
    drawn = (
        np.median(np.asarray(runs, np.float64)[dice.integers(0, len(runs), (RESAMPLES, len(runs)))], axis=1)
        for runs in (first, second)
    )
    low, high = np.percentile(np.divide(*drawn), (2.5, 97.5), method="nearest")
    return Interval(float(low), float(high))


def spread(runs: Sequence[float]) -> float:
    """(largest - smallest) / median of the runs' values: how far the same file is from itself. At least one run."""
    return float((max(runs) - min(runs)) / np.median(runs))


def rank_sum(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided exact p-value that the runs of two measurements come from the same distribution.

    Permutation test on the sum of ranks (F. Wilcoxon, Biometrics Bulletin 1 (1945)), ties sharing their middle rank:
    the share of all ways to divide the runs that are at least as uneven as this one. It assumes nothing of the
    distribution, and what it is given must be whole runs, by turns, not samples: those are not independent. With 4
    runs each the least p-value is 0.029, so fewer can never differ at 5 %. Where counting would take more than
    MOST_ADDED it is that of the normal distribution, which the sum then nearly has; of 1 run beside very many it calls
    too few different. Raises UsageError for no runs.
    """
    if not first or not second:
        raise UsageError(f"{len(first)} and {len(second)} runs are no comparison; each side needs at least one")
    values = np.array([*first, *second], np.float64)
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[places]  # twice the middle rank, a whole number
    total, fewer = int(doubled.sum()), min(len(first), len(second))
    off = abs(float(doubled[: len(first)].sum()) - total * len(first) / len(values))  # as far as the other side's
    if fewer * total * len(values) <= MOST_ADDED:
        return _share_as_uneven(doubled, fewer, off)
    # The variance of a sum of len(first) of these ranks; a sum moves in steps of 2, of which half lies on either side.
    variance = len(first) * len(second) / (len(values) - 1) * float(np.var(doubled))
    return math.erfc(max(0.0, off - 1) / math.sqrt(2 * variance)) if variance else 1.0


def _share_as_uneven(doubled: np.ndarray, chosen: int, off: float) -> float:
    """The share of all choices of ``chosen`` doubled ranks whose sum is ``off`` or more from the middle of all sums."""
    # ways[k, s]: how many choices of k runs have doubled ranks that sum to s
    total = int(doubled.sum())
    ways = np.zeros((chosen + 1, total + 1))
    ways[0, 0] = 1
    for rank in doubled.tolist():
        ways[1:, rank:] += ways[:-1, : total + 1 - rank].copy()
    sums = ways[chosen]
    extreme = np.abs(np.arange(total + 1) - total * chosen / len(doubled)) >= off - 1e-9
    return float(sums[extreme].sum() / sums.sum())


def differ(first: Sequence[float], second: Sequence[float], allowance: float) -> float:
    """p-value that the runs of two measurements differ by no more than the share ``allowance``.

    The slower side, by its median, is made faster by the allowance; if it is then no longer the slower one the
    p-value is 1, else it is that of ``rank_sum``. Raises UsageError for no runs.
    """
    if not first or not second:
        raise UsageError(f"{len(first)} and {len(second)} runs are no comparison; each side needs at least one")
    fast, slow = sorted((list(first), list(second)), key=np.median)
    eased = [value / (1 + allowance) for value in slow]
    return rank_sum(fast, eased) if np.median(eased) > np.median(fast) else 1.0


def least_p(first: int, second: int) -> float:
    """The smallest p-value that ``rank_sum`` can give for so many runs on either side, both at least 1."""
    return 2 / math.comb(first + second, first)


def fisher(first_right: int, first_images: int, second_right: int, second_images: int) -> float:
    """Two-sided exact p-value that two accuracies are the same, from the counts alone.

    R. A. Fisher's test of a 2 x 2 table: of all tables with these margins, the share that are no likelier than this
    one. It takes the images for different ones. Where they are the same it calls too few differences, never too many;
    ``mcnemar`` then sees more, but needs the result of every image. Raises UsageError for impossible counts.
    """
    for right, images in ((first_right, first_images), (second_right, second_images)):
        if not 0 <= right <= images or images == 0:
            raise UsageError(f"{right} correct of {images} images is no accuracy")
    right = first_right + second_right
    least, most = max(0, right - second_images), min(first_images, right)
    logs = [_log_choose(first_images, k) + _log_choose(second_images, right - k) for k in range(least, most + 1)]
    whole = _log_choose(first_images + second_images, right)
    limit = logs[first_right - least] + 1e-7
    return min(1.0, math.fsum(math.exp(each - whole) for each in logs if each <= limit))


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
