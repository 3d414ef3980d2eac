"""Intervals that cover as often as they say, and tests against published or counted values."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest

from edgecnn.errors import UsageError
from edgecnn.measure.stats import (
    agreement,
    differ,
    fisher,
    least_p,
    mcnemar,
    median_interval,
    median_method,
    paired_change,
    rank_sum,
    ratio_interval,
    spread,
    sqnr,
    wilson,
)


def test_wilson_against_a_published_example() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I: 81 of 263, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(20, 20).high == 1.0


@pytest.mark.parametrize(
    ("images", "only_first", "only_second"),
    [(300, 0.002, 0.002), (300, 0.02, 0.005), (1000, 0.002, 0.002), (1000, 0.02, 0.005), (1000, 0.004, 0.001),
     (1000, 0.05, 0.05), (10_000, 0.001, 0.004), (10_000, 0.1, 0.15)],
)  # fmt: skip
def test_paired_interval_covers_the_true_change(images: int, only_first: float, only_second: float) -> None:
    shares = [only_first, only_second, 1 - only_first - only_second]
    tables = np.random.default_rng(0).multinomial(images, shares, 4000)
    truth = 100 * (only_second - only_first)
    hits = 0
    for first, second, _ in tables:
        low, high = paired_change(int(first), int(second), images)
        hits += low <= truth <= high
    # 4,000 tables: three standard errors of a coverage of 0.95 are 0.010
    assert hits / len(tables) >= 0.935


def test_paired_interval_is_not_needlessly_wide() -> None:
    # Many discordant images: it must come to the plain Wald interval, 1.96 * sqrt(b + c - (c - b)^2 / n) / n.
    low, high = paired_change(500, 520, 10_000)
    assert (low + high) / 2 == pytest.approx(0.2, abs=0.001)
    assert (high - low) / 2 == pytest.approx(100 * 1.96 * np.sqrt(1020 - 0.04) / 10_000, rel=0.002)


def test_paired_interval_turns_with_the_models_and_stays_in_range() -> None:
    low, high = paired_change(3, 9, 100)
    turned = paired_change(9, 3, 100)
    assert turned == pytest.approx((-high, -low))
    assert paired_change(0, 1, 1).high <= 100
    with pytest.raises(UsageError):
        paired_change(3, 4, 6)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (1, 9), (6, 16), (30, 30), (59, 6)])
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    total, fewer = first + second, min(first, second)
    tail = Fraction(sum(comb(total, count) for count in range(fewer + 1)), 2**total)
    assert mcnemar(first, second) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)


def test_mcnemar_known_values_and_large_counts() -> None:
    assert mcnemar(0, 5) == 0.0625
    assert mcnemar(6, 16) == pytest.approx(0.0525, abs=5e-5)
    assert mcnemar(5000, 5000) == 1.0
    assert mcnemar(5000, 5200) == pytest.approx(0.0487, abs=1e-3)
    assert mcnemar(0, 20_000) == 0.0


def test_agreement() -> None:
    assert agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4])) == 0.75
    with pytest.raises(UsageError, match="not of the same images"):
        agreement(np.array([1]), np.array([1, 2]))


def test_the_interval_of_the_median_is_the_narrowest_that_covers_95_per_cent() -> None:
    for count in range(6, 40):
        low, high = median_interval([float(place) for place in reversed(range(count))]) or (0, 0)
        assert low + high == count - 1, "as many runs are outside at either end"
        missed, narrower = (2 * sum(comb(count, k) for k in range(int(low) + more)) / 2**count for more in (1, 2))
        assert missed <= 0.05 < narrower, count


def test_the_interval_of_the_median_needs_five_runs_and_is_then_their_span() -> None:
    assert median_interval([1.0, 5.0, 2.0, 4.0, 3.0]) == (1.0, 5.0)
    assert median_interval([1.0, 5.0, 2.0, 4.0]) is None


def test_the_method_says_how_often_the_interval_holds_the_median() -> None:
    assert median_method(5) == "order statistics of 5 runs, their span: right 93.8 % of the time"
    assert median_method(10).endswith("10 runs, their span without the 1 lowest and highest: right 97.9 % of the time")
    random = np.random.default_rng(0)
    intervals = map(median_interval, random.normal(size=(4000, 5)).tolist())
    held = [each is not None and each[0] <= 0 <= each[1] for each in intervals]
    assert np.mean(held) == pytest.approx(0.9375, abs=0.012)


def test_a_ratio_has_the_interval_of_both_sides() -> None:
    assert ratio_interval([4, 4, 4, 4, 4], [2, 2, 2, 2, 2]) == (2, 2)
    low, high = ratio_interval([4, 4, 4, 4, 5], [2, 2, 2, 2, 1]) or (0, 0)
    assert (low, high) == (2, 4)
    low, high = ratio_interval([3, 4, 4, 5, 5], [2, 2, 2, 2, 2]) or (0, 0)
    assert (low, high) == (1.5, 2.5)
    assert ratio_interval([4] * 5, [2] * 4) is None


def test_spread() -> None:
    assert spread([10.0, 12.0, 11.0]) == pytest.approx(2 / 11)
    assert spread([10.0]) == 0


def test_rank_sum_is_the_exact_permutation_test() -> None:
    # R. A. Fisher's way, by hand: 2 of the 20 ways to divide 6 runs by 3 are as uneven as the most uneven one.
    assert rank_sum([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(2 / 20)
    assert rank_sum([1.0, 2.0, 4.0], [3.0, 5.0, 6.0]) == pytest.approx(4 / 20)
    assert rank_sum([6.0, 7.0, 8.0, 9.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 252)
    assert rank_sum([1.0] * 5, [1.0] * 5) == 1
    assert rank_sum([1.0], [2.0, 3.0]) == rank_sum([2.0, 3.0], [1.0]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("first", "second"), [([1.0, 1.0, 2.0], [2.0, 3.0, 3.0, 3.0]), ([5.0, 1.0, 4.0], [2.0, 5.0])])
def test_rank_sum_against_every_permutation(first: list[float], second: list[float]) -> None:
    values = np.array(first + second)
    ranks = [float(np.mean(np.flatnonzero(np.sort(values) == value))) for value in values]
    means = [sum(choice) for choice in combinations(ranks, len(first))]
    centre = float(np.mean(ranks)) * len(first)
    off = abs(sum(ranks[: len(first)]) - centre)
    expected = np.mean([abs(mean - centre) >= off - 1e-9 for mean in means])
    assert rank_sum(first, second) == pytest.approx(float(expected))


def test_rank_sum_of_very_many_runs_takes_no_time_and_stays_near_the_exact_one() -> None:
    # Counted, a thousand runs a side (bench --runs 1000) would take 30 GB.
    draws = np.random.default_rng(2).normal(size=2000)
    assert rank_sum(draws[:1000].tolist(), (draws[1000:] + 0.2).tolist()) < 0.001
    assert rank_sum(draws[:1000].tolist(), draws[1000:].tolist()) > 0.05
    assert rank_sum([1.0] * 1000, [1.0] * 1000) == 1
    # Counted, which takes some seconds, it is 0.00261.
    assert rank_sum(range(75), [value - 63.2 for value in range(75, 150)]) == pytest.approx(0.00261, rel=0.1)


def test_rank_sum_calls_at_most_one_of_twenty_equal_pairs_different() -> None:
    draws = np.random.default_rng(2).lognormal(0.0, 0.3, (2000, 10))
    wrong = sum(rank_sum(draw[:5].tolist(), draw[5:].tolist()) < 0.05 for draw in draws)
    assert 0.02 < wrong / len(draws) <= 0.05


def test_rank_sum_finds_a_real_difference_and_refuses_nothing() -> None:
    draws = np.random.default_rng(3).normal(100, 1, (200, 10)) + np.array([0] * 5 + [4] * 5)
    found = sum(rank_sum(draw[:5].tolist(), draw[5:].tolist()) < 0.05 for draw in draws)
    assert found > 190
    with pytest.raises(UsageError, match="0 and 1 runs"):
        rank_sum([], [1.0])


def test_a_difference_within_the_allowance_does_not_count() -> None:
    first = [100.0, 100.1, 100.2, 100.3, 100.4]
    second = [value * 1.02 for value in first]
    assert differ(first, second, 0) == differ(second, first, 0) == pytest.approx(2 / 252)
    assert differ(first, second, 0.01) == differ(second, first, 0.01) == pytest.approx(2 / 252)
    assert differ(first, second, 0.03) == differ(second, first, 0.03) == 1
    assert differ(first, first, 0) == 1
    with pytest.raises(UsageError):
        differ([], first, 0)


def test_fisher_against_a_published_example_and_by_counting() -> None:
    # R. A. Fisher, The Design of Experiments (1935), chapter II: the lady tasting tea, two-sided.
    assert fisher(3, 4, 1, 4) == pytest.approx(34 / 70)
    for first, second, third, fourth in ((7, 9, 2, 8), (0, 5, 5, 5), (12, 12, 11, 12), (3, 10, 3, 10)):
        right = first + third
        ways = {
            k: comb(second, k) * comb(fourth, right - k) for k in range(max(0, right - fourth), min(second, right) + 1)
        }
        expected = Fraction(sum(each for each in ways.values() if each <= ways[first]), sum(ways.values()))
        assert fisher(first, second, third, fourth) == pytest.approx(float(expected))


def test_fisher_takes_either_order_and_ten_thousand_images() -> None:
    assert fisher(8859, 10_000, 8839, 10_000) == pytest.approx(fisher(8839, 10_000, 8859, 10_000))
    assert fisher(8859, 10_000, 8859, 10_000) == pytest.approx(1)
    assert fisher(8859, 10_000, 8500, 10_000) < 1e-12
    with pytest.raises(UsageError, match="11 correct of 10 images"):
        fisher(11, 10, 5, 10)


def test_least_p_is_that_of_runs_which_do_not_overlap() -> None:
    for first, second in ((1, 1), (3, 3), (4, 4), (5, 2)):
        assert rank_sum(range(first), range(100, 100 + second)) == pytest.approx(least_p(first, second))


def test_sqnr_of_noise_a_tenth_of_the_signal() -> None:
    exact = np.array([[3.0, -3.0]])
    assert sqnr(exact, 1.1 * exact) == pytest.approx(20)
    assert sqnr(exact, exact) is None
    with pytest.raises(UsageError, match=r"\[1, 2\] and \[2\] are not of the same images"):
        sqnr(exact, exact[0])
