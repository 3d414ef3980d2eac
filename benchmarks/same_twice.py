"""Measures one file against itself: ``python -m benchmarks.same_twice FILE [--pairs 40]``.

A test that finds a difference between a file and itself is wrong; at 5 % it may be so in one pair of twenty. Pairs
are of two kinds: two rows of one bench, which take turns, and rows of two benches, one after the other, as when an
old result file is held against a new one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from edgecnn.errors import CheckFailedError, EdgeCNNError, UsageError
from edgecnn.measure.bench import bench
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.figures import medians
from edgecnn.measure.limits import parse_limits
from edgecnn.measure.measurement import Session, Settings
from edgecnn.measure.regression import LEVEL, compare
from edgecnn.measure.stats import BY_TURNS, differ, spread
from edgecnn.runtime.artifact import FORMAT_OF_SUFFIX
from edgecnn.runtime.engines import fitting

LIMITS = parse_limits(
    "latency:p50:0%,latency:p90:0%,latency:p99:0%,latency:mean:0%,latency:min:0%,cold_start:0%,memory:0%"
)
USUAL = parse_limits("latency:p50:5%")


def measure(path: Path, pairs: int) -> list[Session]:
    """A bench of two rows of the same file for every pair.

    Raises UsageError for no pair and as find_cases and bench do, CheckFailedError for a file that does not run.
    """
    if pairs < 1:
        raise UsageError(f"--pairs {pairs} is no measurement (valid: 1 or more)")
    cases = find_cases(Order((path, path), fitting(FORMAT_OF_SUFFIX.get(path.suffix, ""))[:1]))
    sessions = []
    for _ in range(pairs):
        sessions.append(bench(cases, Settings()))
        for row in sessions[-1].measurements:
            if row.failure is not None:
                raise CheckFailedError(f"{path} {row.failure}")
    return sessions


def verdict(sessions: Sequence[Session]) -> dict[str, object]:
    """How many pairs differ at 5 %, of both kinds, and the median spread of a row's runs.

    Pairs of two benches are what ``edgecnn compare-runs`` makes of them, for each of its figures that runs decide;
    ``regressions`` counts those among them that it would also call so with its usual limit on latency.
    """
    rows = [[medians(row) for row in session.measurements] for session in sessions]
    outcomes = [compare(one, two, LIMITS) for one, two in pairwise(sessions)]
    changes = [change for outcome in outcomes for change in outcome.changes]
    spreads = sorted(spread(row) for pair in rows for row in pair)
    return {
        "pairs_by_turns": len(rows),
        "differ_by_turns": sum(differ(first, second, BY_TURNS) < LEVEL for first, second in rows),
        "pairs_of_two_benches": sum(change.limit == LIMITS[0] for change in changes),
        "differ_of_two_benches": {
            limit.name: sum(change.p is not None and change.p < LEVEL for change in changes if change.limit == limit)
            for limit in LIMITS
        },
        "regressions": sum(len(compare(one, two, USUAL).regressions) for one, two in pairwise(sessions)),
        "median_spread": spreads[len(spreads) // 2],
        "medians": rows,
    }


def main(words: list[str] | None = None) -> int:
    """Print the counts and the raw medians as JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_twice", description="Time a file against itself.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args(words)
    try:
        found = verdict(measure(options.file, options.pairs))
    except EdgeCNNError as error:
        print(f"same_twice: error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
