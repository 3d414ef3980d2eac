"""Regressions: only what is beyond the limit and beyond chance, and never in silence."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from edgecnn.errors import UntrustworthyError, UsageError
from edgecnn.measure.limits import parse_limits
from edgecnn.measure.measurement import Measurement, Session
from edgecnn.measure.regression import CHANCE, IMPROVEMENT, REGRESSION, SAME, WITHIN, Change, compare
from edgecnn.measure.trust import INVALID, UNSTABLE, Verdict
from tests.measure.benches import FAST, row, session, slower


def only(old: Session | Measurement, new: Session | Measurement, limit: str, force: bool = False) -> Change:
    """The one change between two sessions, or two of a row each."""
    first, second = (each if isinstance(each, Session) else session(each) for each in (old, new))
    (change,) = compare(first, second, parse_limits(limit), force).changes
    return change


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (0.10, REGRESSION),
        (0.06, REGRESSION),
        (0.045, WITHIN),
        (0.02, SAME),
        (0.0, SAME),
        (-0.02, SAME),
        (-0.10, IMPROVEMENT),
    ],
)
def test_a_time_counts_when_it_is_beyond_chance_and_beyond_the_limit(share: float, verdict: str) -> None:
    times = tuple(100 + each / 10 for each in range(5))
    change = only(row(times=times), row(times=slower(share, times)), "latency:5%")
    assert change.verdict == verdict
    assert change.worse == pytest.approx(100 * share)
    assert change.test == "rank sum of 5 and 5 runs, beyond 3%"


def test_runs_that_mix_prove_nothing_however_far_their_medians_are() -> None:
    old, new = row(times=(100, 100, 100, 140, 150)), row(times=(100, 101, 130, 140, 150))
    change = only(old, new, "latency:5%")
    assert change.p is not None and change.p > 0.05
    assert (change.verdict, compare(session(old), session(new), parse_limits("latency:5%")).regressions) == (CHANCE, [])


@pytest.mark.parametrize(
    ("statistic", "microseconds"), [("p50", 102), ("mean", 119), ("min", 100), ("p99", 102 * 3 - 102 * 2 * 0.11)]
)
def test_each_statistic_is_what_bench_shows(statistic: str, microseconds: float) -> None:
    change = only(row(), row(), f"latency:{statistic}:5%")
    assert change.old == pytest.approx(microseconds)


def test_one_lucky_sample_of_old_is_no_regression_where_the_new_runs_are_faster() -> None:
    old, new = row(times=(90, *range(120, 129))), row(times=tuple(97 + each / 10 for each in range(10)))
    change = only(old, new, "latency:min:5%")
    assert change.p is not None and change.p < 0.05
    assert (change.old, change.new, change.verdict) == (90, 97, CHANCE)


def test_a_slow_tail_is_seen_by_the_statistic_that_looks_at_it() -> None:
    old, new = row(), row(times=FAST)
    runs = tuple(dataclasses.replace(run, samples=(*run.samples[:-1], run.samples[-1] * 3)) for run in new.runs)
    tailed = dataclasses.replace(new, runs=runs)
    assert only(old, tailed, "latency:p50:5%").verdict == SAME
    assert only(old, tailed, "latency:p99:5%").verdict == REGRESSION


def test_times_are_per_image() -> None:
    assert only(row(batch=4), row(batch=4), "latency:5%").old == pytest.approx(102 / 4)


@pytest.mark.parametrize(("right", "verdict"), [(878, REGRESSION), (879, WITHIN), (884, SAME), (885, IMPROVEMENT)])
def test_on_the_same_images_an_accuracy_is_exact(right: int, verdict: str) -> None:
    old, new = (row(right=(count, 1000), sample="1" * 64) for count in (884, right))
    change = only(old, new, "accuracy:0.5pp")
    assert (change.verdict, change.test, change.p) == (verdict, "exact, on the same images", None)
    assert change.worse == pytest.approx((884 - right) / 10)
    assert compare(session(old), session(new), parse_limits("accuracy:0.5pp")).remarks == ()


@pytest.mark.parametrize(("right", "verdict"), [(800, REGRESSION), (878, CHANCE), (883, SAME), (990, IMPROVEMENT)])
def test_on_images_that_are_not_known_accuracy_is_tested_by_its_counts(right: int, verdict: str) -> None:
    old, new = row(right=(884, 1000)), row(right=(right, 1000), sample="1" * 64)
    change = only(old, new, "accuracy:0.5pp")
    assert (change.verdict, change.test) == (verdict, "Fisher's exact test of 1000 and 1000 images")
    assert compare(session(old), session(new), parse_limits("accuracy:0.5pp")).remarks == (
        "the images of bundle/a.tflite are not known to be the same: less than 3.1 points may be chance",
    )


def test_accuracies_on_other_images_are_refused_unless_forced() -> None:
    old, new = (session(row(right=(884, 1000), sample=digit * 64)) for digit in "12")
    with pytest.raises(UsageError, match="case.sample was '111111111111' and is '222222222222'"):
        compare(old, new, parse_limits("accuracy:0.5pp"))
    assert only(old, new, "accuracy:0.5pp", force=True).test.startswith("Fisher's")
    assert only(old, new, "bytes:1%").verdict == SAME


@pytest.mark.parametrize(("size", "verdict"), [(1247, REGRESSION), (1235, WITHIN), (1234, SAME), (1233, IMPROVEMENT)])
def test_bytes_are_exact(size: int, verdict: str) -> None:
    change = only(row(), row(bytes=size), "bytes:1%")
    assert (change.verdict, change.test, change.p) == (verdict, "exact", None)


@pytest.mark.parametrize(("count", "verdict"), [(1060, REGRESSION), (1030, WITHIN), (1015, SAME), (950, IMPROVEMENT)])
def test_instructions_repeat_within_two_per_cent(count: int, verdict: str) -> None:
    old, new = (session(row(times=(), instructions=(each, each)), emulated=True) for each in (1000, count))
    assert only(old, new, "instructions:5%").verdict == verdict


def test_energy_has_no_test_and_says_so() -> None:
    change = only(row(joules=0.010), row(joules=0.012), "energy:10%")
    assert (change.verdict, change.test, change.p) == (REGRESSION, "none, metered once", None)
    assert only(row(joules=0.010), row(joules=0.0105), "energy:10%").verdict == SAME


def test_cold_start_and_memory_are_tested_by_runs() -> None:
    assert only(row(), row(load=4_000_000), "cold_start:5%").verdict == REGRESSION
    change = only(row(), row(grown=3_000_000), "memory:0.5MB")
    assert (change.verdict, change.old, change.worse) == (REGRESSION, 2_000_000, 1)


@pytest.mark.parametrize("statistic", ["p99", "mean"])
def test_what_the_machine_disturbs_most_must_differ_by_more(statistic: str) -> None:
    times = tuple(100 + each / 10 for each in range(5))
    for share, verdict in ((0.08, CHANCE), (0.12, REGRESSION)):
        change = only(row(times=times), row(times=slower(share, times)), f"latency:{statistic}:5%")
        assert (change.verdict, change.test) == (verdict, "rank sum of 5 and 5 runs, beyond 10%")


def test_too_few_runs_to_ever_differ_are_refused() -> None:
    few = session(row(times=FAST[:3]))
    with pytest.raises(UsageError, match="3 and 3 runs can never differ at 5%: bench both with --runs 5"):
        only(few, few, "latency:5%")
    assert only(few, few, "bytes:1%").verdict == SAME
    assert compare(few, few, parse_limits("latency:5%"), force=True).warnings == (
        "3 and 3 runs can never differ at 5%: bench both with --runs 5",
    )


def test_another_machine_is_refused_unless_forced_and_does_not_matter_to_bytes() -> None:
    old, new = session(), session(cpu="Cortex-A72")
    with pytest.raises(UsageError, match="machine.cpu was 'Cortex-A76' and is 'Cortex-A72'.*--force"):
        compare(old, new, parse_limits("latency:5%,bytes:1%"))
    forced = compare(old, new, parse_limits("latency:5%"), force=True)
    assert forced.warnings == ("machine.cpu was 'Cortex-A76' and is 'Cortex-A72'",)
    outcome = compare(old, new, parse_limits("bytes:1%"))
    assert (outcome.warnings, outcome.remarks) == ((), ("machine.cpu was 'Cortex-A76' and is 'Cortex-A72'",))


def test_a_thinned_bench_has_no_tails_to_compare() -> None:
    old, new = session().thin(5), session()
    assert only(old, new, "latency:p50:5%").verdict == SAME
    for statistic in ("min", "p99"):
        with pytest.raises(UsageError, match="thinned was 5 and is not told"):
            compare(old, new, parse_limits(f"latency:{statistic}:5%"))


def test_an_invalid_bench_is_refused_where_the_machine_matters_even_by_force() -> None:
    bad = session(verdict=Verdict(INVALID, ("throttled during the run",)))
    for old, new, name in ((bad, session(), "old"), (session(), bad, "new")):
        with pytest.raises(UntrustworthyError, match=f"the {name} bench is INVALID .throttled during the run."):
            compare(old, new, parse_limits("latency:5%"), force=True)
    assert only(bad, session(), "bytes:1%").verdict == SAME


def test_doubts_are_told_where_the_machine_matters() -> None:
    shaky = Verdict(UNSTABLE, ("other processes kept 1.0 of 4 CPUs busy",))
    old, new = session(), session(row(verdict=shaky), verdict=shaky)
    outcome = compare(old, new, parse_limits("latency:5%,bytes:1%"))
    assert outcome.doubts == ("new: other processes kept 1.0 of 4 CPUs busy",)
    assert [each.unstable for each in outcome.changes] == [True, False]
    assert compare(old, new, parse_limits("bytes:1%")).doubts == ()


def test_a_file_that_is_gone_is_a_regression_unless_forced_and_a_new_one_is_named() -> None:
    old, new = session(row("a.tflite"), row("b.tflite")), session(row("a.tflite"), row("c.tflite"))
    outcome = compare(old, new, parse_limits("bytes:1%"))
    assert outcome.regressions == ["b.tflite was measured before and is not now"]
    assert [each.text for each in outcome.absences] == ["was measured before and is not now", "is new"]
    assert compare(old, new, parse_limits("bytes:1%"), force=True).regressions == []


def test_failing_now_is_a_regression_and_having_failed_is_not() -> None:
    fine, broken = row("a.tflite"), row("a.tflite", failure="was killed by SIGILL")
    other = row("b.tflite")
    limits = parse_limits("bytes:1%")
    assert compare(session(fine, other), session(broken, other), limits).regressions == [
        "a.tflite failed now: was killed by SIGILL"
    ]
    for old, new in ((broken, fine), (broken, broken)):
        outcome = compare(session(old, other), session(new, other), limits)
        assert outcome.regressions == [] and len(outcome.absences) == 1


def test_benches_in_which_every_file_failed_compare_nothing_and_that_is_refused() -> None:
    broken = session(row("a.tflite", failure="was killed by SIGILL"))
    for force in (False, True):
        with pytest.raises(UsageError, match="failed before and now: there is nothing to compare"):
            compare(broken, broken, parse_limits("bytes:1%"), force=force)


def test_a_figure_that_is_gone_is_a_regression_and_a_new_one_is_named() -> None:
    with_it, without = row(right=(9, 10)), row()
    other = row("b.tflite", right=(9, 10))
    limits = parse_limits("accuracy:1pp")
    assert compare(session(with_it, other), session(without, other), limits).regressions == [
        "a.tflite has no accuracy any more"
    ]
    outcome = compare(session(without, other), session(with_it, other), limits)
    assert outcome.regressions == [] and outcome.absences[0].text == "has accuracy, and had none before"


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("energy:5%", "energy of no file is in the old bench"), ("instructions:5%", "instructions of no file"),
     ("accuracy:1pp", "accuracy of no file")],
)  # fmt: skip
def test_a_limit_on_what_was_never_measured_is_refused(limit: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        compare(session(), session(), parse_limits(limit))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"model": "depthwise", "file": "b.tflite"}, "model is lenet in the old one and depthwise in the new one"),
     ({"file": "b.tflite"}, "file is a.tflite in the old one and b.tflite in the new one")],
)  # fmt: skip
def test_benches_of_other_files_are_refused_even_by_force(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        compare(session(row()), session(row(**changes)), parse_limits("bytes:1%"), force=True)


def test_a_bench_against_one_of_the_same_drifting_machine_seldom_differs() -> None:
    """Drawn, not measured: runs that differ by 2 %, benches that drift by 1 %."""
    random = np.random.default_rng(0)

    def bench() -> Session:
        return session(row(times=tuple(100 * random.normal(1, 0.01) * random.normal(1, 0.02, 5))))

    flagged = sum(
        compare(bench(), bench(), parse_limits("latency:0%")).changes[0].verdict == REGRESSION for _ in range(400)
    )
    assert flagged <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)
