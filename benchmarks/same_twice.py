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

from edgecnn.errors import EdgeCNNError
from edgecnn.measure.bench import bench
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.figures import medians
from edgecnn.measure.measurement import Settings
from edgecnn.measure.runtimes import RUNTIMES
from edgecnn.measure.stats import BY_TURNS, OF_TWO_BENCHES, differ, spread

LEVEL = 0.05


def measure(path: Path, pairs: int) -> list[list[list[float]]]:
    """For every pair, the run medians, microseconds, of both rows. Raises UsageError as find_cases and bench do."""
    cases = find_cases(Order((path, path), tuple(RUNTIMES)))
    sessions = [bench(cases, Settings()) for _ in range(pairs)]
    return [[medians(row) for row in session.measurements] for session in sessions]


def verdict(rows: Sequence[Sequence[Sequence[float]]]) -> dict[str, object]:
    """How many pairs differ at 5 %, of both kinds, and the median spread of a row's runs."""
    within = [differ(first, second, BY_TURNS) for first, second in rows]
    between = [differ(one[0], two[1], OF_TWO_BENCHES) for one, two in pairwise(rows)]
    spreads = sorted(spread(row) for pair in rows for row in pair)
    return {
        "pairs_by_turns": len(within),
        "differ_by_turns": sum(p < LEVEL for p in within),
        "pairs_of_two_benches": len(between),
        "differ_of_two_benches": sum(p < LEVEL for p in between),
        "median_spread": spreads[len(spreads) // 2],
    }


def main(words: list[str] | None = None) -> int:
    """Print the counts and the raw medians as JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_twice", description="Time a file against itself.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args(words)
    try:
        rows = measure(options.file, options.pairs)
    except EdgeCNNError as error:
        print(f"same_twice: error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(verdict(rows) | {"medians": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
