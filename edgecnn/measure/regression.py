"""Has anything become worse since an old bench? A regression is beyond its limit and more than chance explains.

    latency, cold_start, memory   stats.differ on whole runs, with an allowance for what a machine drifts
    accuracy                      exact on the same images: the same file is right on as many again. On others, or where
                                  an old result does not say which, stats.fisher on the counts, which misses much
    bytes                         exact
    instructions                  counted; more than REPEATABLE apart
    energy                        metered once, so there is no test and the limit alone decides

Every comparison is at 5 % by itself: of many files, a few differ by chance, but seldom also beyond their limit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgecnn.errors import UntrustworthyError, UsageError
from edgecnn.measure import stats
from edgecnn.measure.limits import Limit
from edgecnn.measure.measurement import Case, Measurement, Run, Session
from edgecnn.measure.pairs import MACHINE_BOUND, Pair, differences, pair
from edgecnn.measure.trust import VALID

LEVEL = 0.05
# What a bench's figure may differ by from that of another of the same file: OF_TWO_BENCHES, but more for figures that
# the rest of the machine disturbs most. Of 60 pairs that benchmarks/same_twice.py measured on a busy virtual machine,
# 7, 2 and 4 differed with 3 %, and none, none and 2 with 10 %.
DRIFTS = {"latency p99": 0.10, "latency mean": 0.10, "cold_start": 0.10}
REPEATABLE = 0.02  # share by which two counts of the same file's instructions may differ
BY_RUNS = ("latency", "cold_start", "memory")
SHOWN_OBSTACLES = 4

REGRESSION, IMPROVEMENT = "REGRESSION", "improvement"
WITHIN, CHANCE, SAME = "worse, within the limit", "beyond the limit, may be chance", "no difference"


@dataclass(frozen=True)
class Change:
    """One figure of one file, before and now: microseconds, milliseconds, bytes, joules, a share or a count.

    ``worse`` is the change in the limit's unit, above 0 for the worse; ``p`` is None for a test that gives none.
    ``unstable`` says that the verdict on one of the two measurements is not the best.
    """

    case: Case
    limit: Limit
    old: float
    new: float
    worse: float
    test: str
    p: float | None
    verdict: str
    unstable: bool


@dataclass(frozen=True)
class Absence:
    """What only one of the two benches has; a ``regression`` when it was measured before and is not now."""

    case: Case
    text: str
    regression: bool


@dataclass(frozen=True)
class Outcome:
    """The comparison of two benches.

    ``warnings`` are differences that refuse a comparison, forced nevertheless; ``remarks`` those that do not;
    ``doubts`` the reasons why one of the benches was unstable.
    """

    changes: tuple[Change, ...]
    absences: tuple[Absence, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def regressions(self) -> list[str]:
        """A line for each."""
        lines = [
            f"{each.limit.name} of {each.case.file} in {each.case.runtime} is worse by {each.worse:.3g} "
            f"{each.limit.unit} (limit {each.limit.text})"
            for each in self.changes
            if each.verdict == REGRESSION
        ]
        return lines + [f"{each.case.file} {each.text}" for each in self.absences if each.regression]


def compare(old: Session, new: Session, limits: Sequence[Limit], force: bool = False) -> Outcome:
    """Hold ``new`` against ``old``.

    Raises UsageError for benches that cannot be compared, naming the fields and both values, unless ``force``, and
    always when nothing in them is comparable; UntrustworthyError when a figure needs a bench that is INVALID.
    """
    metrics = {limit.metric for limit in limits} | {limit.name for limit in limits}
    bound = bool(metrics & MACHINE_BOUND)
    for name, session in (("old", old), ("new", new)):
        if bound and session.invalid:
            raise UntrustworthyError(
                f"the {name} bench is INVALID ({'; '.join(session.verdict.reasons)}); bench again, or limit only what "
                "does not depend on the machine: accuracy, bytes"
            )
    found = pair(old, new)
    if not found.pairs:
        raise UsageError(f"the two have no file in common: {_strangers(old, new)}; give two benches of the same files")
    both = [each for each in found.pairs if each.old.failure is None and each.new.failure is None]
    obstacles, remarks = differences(old, new, found.pairs, metrics)
    obstacles += dict.fromkeys(line for each in both for limit in limits for line in _too_few(each, limit))
    if obstacles and not force:
        more = f" and {len(obstacles) - SHOWN_OBSTACLES} more" if len(obstacles) > SHOWN_OBSTACLES else ""
        shown = "; ".join(obstacles[:SHOWN_OBSTACLES]) + more
        raise UsageError(f"these cannot be compared: {shown}; bench both in the same way, or give --force")
    for limit in limits:
        if both and not any(_values(each.old, limit) for each in both):
            raise UsageError(f"{limit.name} of no file is in the old bench; leave it out of --fail-on")
    changes = [change for each in both for limit in limits for change in _change(each, limit)]
    absences = [
        *_failures(found.pairs, force),
        *(lost for each in both for limit in limits for lost in _lost(each, limit, force)),
        *(Absence(row.case, "was measured before and is not now", not force) for row in found.missing),
        *(Absence(row.case, "is new" if row.failure is None else f"is new and failed: {row.failure}", False)
          for row in found.added),
    ]  # fmt: skip
    if all(each.new.failure for each in found.pairs) and not any(each.regression for each in absences):
        raise UsageError("every file that both have failed before and now: there is nothing to compare; bench again")
    remarks += dict.fromkeys(line for each in both for limit in limits for line in _blind(each, limit))
    return Outcome(
        tuple(changes), tuple(absences), tuple(obstacles), tuple(remarks), _doubts(old, new) if bound else ()
    )


def _values(row: Measurement, limit: Limit) -> list[float]:
    """The figure of each run or count, all above 0; none where it was not measured."""
    match limit.metric:
        case "bytes":
            return [row.case.bytes]
        case "accuracy":
            return [] if row.accuracy is None else [row.accuracy.correct / row.accuracy.images]
        case "energy":
            return [row.energy.joules] if row.energy.joules else []
        case "instructions":
            return [] if row.emulation is None else [float(count) for count in row.emulation.instructions]
        case "memory":
            grown = [run.peak_bytes - run.base_bytes for run in row.runs if run.peak_bytes and run.base_bytes]
            return [float(each) for each in grown] if grown and min(grown) > 0 else []
        case "cold_start":
            return [(run.start + run.imports + run.load + run.first) / 1e6 for run in row.runs]
    return [_latency(run, str(limit.statistic)) / 1000 / row.case.batch for run in row.runs]


def _latency(run: Run, statistic: str) -> float:
    if statistic == "mean":
        return float(np.mean(run.samples))
    return float(np.percentile(run.samples, {"min": 0, "p50": 50, "p90": 90, "p99": 99}[statistic]))


def _figure(values: Sequence[float], limit: Limit) -> float:
    """What measure.figures shows for these runs."""
    return float(min(values) if limit.statistic == "min" else np.median(values))


def _change(each: Pair, limit: Limit) -> Iterator[Change]:
    before, now = _values(each.old, limit), _values(each.new, limit)
    if not before or not now:
        return
    old, new = _figure(before, limit), _figure(now, limit)
    test, p, differs = _test(each, limit, before, now)
    worse, beyond = limit.worse(old, new), limit.exceeded(old, new)
    if differs:
        verdict = REGRESSION if beyond else WITHIN if worse > 0 else IMPROVEMENT
    else:
        verdict = CHANCE if beyond else SAME
    unstable = limit.metric in MACHINE_BOUND and {each.old.verdict.level, each.new.verdict.level} != {VALID}
    yield Change(each.new.case, limit, old, new, worse, test, p, verdict, unstable)


def _test(each: Pair, limit: Limit, before: Sequence[float], now: Sequence[float]) -> tuple[str, float | None, bool]:
    """The test's name, its p-value if it has one, and whether the two differ by it."""
    if limit.metric in BY_RUNS:
        drift = DRIFTS.get(limit.name, stats.OF_TWO_BENCHES)
        p = stats.differ(before, now, drift)
        name = f"rank sum of {len(before)} and {len(now)} runs, beyond {drift:.0%}"
        # The least of all samples may move one way and the least of most runs the other: that is no finding.
        same_way = (np.median(now) - np.median(before)) * (_figure(now, limit) - _figure(before, limit)) > 0
        return name, p, p < LEVEL and bool(same_way)
    if limit.metric == "accuracy":
        first, second = each.old.accuracy, each.new.accuracy
        if each.same_images:
            return "exact, on the same images", None, before != now
        assert first is not None and second is not None  # there are values of it
        p = stats.fisher(first.correct, first.images, second.correct, second.images)
        return f"Fisher's exact test of {first.images} and {second.images} images", p, p < LEVEL
    old, new = _figure(before, limit), _figure(now, limit)
    if limit.metric == "instructions":
        return f"counted; beyond {REPEATABLE:.0%}", None, abs(new - old) > REPEATABLE * min(old, new)
    if limit.metric == "energy":
        return "none, metered once", None, abs(limit.worse(old, new)) > limit.amount
    return "exact", None, old != new


def _too_few(each: Pair, limit: Limit) -> Iterator[str]:
    """A limit that could never be failed is no limit."""
    before, now = _values(each.old, limit), _values(each.new, limit)
    if limit.metric in BY_RUNS and before and now and stats.least_p(len(before), len(now)) >= LEVEL:
        yield f"{len(before)} and {len(now)} runs can never differ at {LEVEL:.0%}: bench both with --runs 5"


def _blind(each: Pair, limit: Limit) -> Iterator[str]:
    """What a test on the counts of other images cannot see."""
    old, new = each.old.accuracy, each.new.accuracy
    if limit.metric != "accuracy" or each.same_images or old is None or new is None:
        return
    expected = round(old.correct / old.images * new.images)

    def seen(drop: int) -> bool:
        return stats.fisher(old.correct, old.images, expected - drop, new.images) < LEVEL

    drop = bisect_left(range(expected + 1), True, key=seen)  # a test of ten thousand images takes its time
    least = 100 * (drop if drop <= expected else new.images) / new.images
    yield f"the images of {each.new.case.name} are not known to be the same: less than {least:.1f} points may be chance"


def _failures(pairs: Sequence[Pair], force: bool) -> Iterator[Absence]:
    for each in pairs:
        if each.new.failure is not None:
            worked = each.old.failure is None
            text = "failed" if worked else "failed before and"
            yield Absence(each.new.case, f"{text} now: {each.new.failure}", worked and not force)
        elif each.old.failure is not None:
            yield Absence(each.new.case, f"works now; it failed before: {each.old.failure}", False)


def _lost(each: Pair, limit: Limit, force: bool) -> Iterator[Absence]:
    before, now = _values(each.old, limit), _values(each.new, limit)
    if before and not now:
        yield Absence(each.new.case, f"has no {limit.name} any more", not force)
    elif now and not before:
        yield Absence(each.new.case, f"has {limit.name}, and had none before", False)


def _doubts(old: Session, new: Session) -> tuple[str, ...]:
    lines = [
        f"{name}: {reason}"
        for name, session in (("old", old), ("new", new))
        for reason in (*session.verdict.reasons, *(why for row in session.measurements for why in row.verdict.reasons))
    ]
    return tuple(dict.fromkeys(lines))


def _strangers(old: Session, new: Session) -> str:
    """How the first file of each differs from the other's."""
    one, two = (session.measurements[0].case for session in (old, new))
    name = next((each for each in ("model", "recipe", "file") if getattr(one, each) != getattr(two, each)), "file")
    return f"{name} is {getattr(one, name)} in the old one and {getattr(two, name)} in the new one"
