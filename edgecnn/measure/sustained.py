"""A sustained run: how long its windows are, and what they say about a machine that does not keep its speed.

Windows follow each other, so neighbours resemble each other: they are joined into blocks first, and a change must be
larger than SLOWING_LIMIT as well as significant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.measure.measurement import Window
from edgecnn.measure.stats import differ
from edgecnn.measure.trust import throttling

LONGEST_WINDOW = 1.0  # seconds
FEWEST_WINDOWS = 25  # in a whole run, so that a fifth has enough for a test at 5 %
BLOCKS = 25  # that a run is divided into
FIFTH = BLOCKS // 5
SLOWING_LIMIT = 0.05  # by how much the last fifth may be slower than the first
LEVEL = 0.05  # of the test that it is slower by more than that


def window_seconds(seconds: float) -> float:
    """How long each window of a sustained run of ``seconds`` is."""
    return min(LONGEST_WINDOW, seconds / FEWEST_WINDOWS)


def doubts(windows: Sequence[Window]) -> list[str]:
    """Why a file does not run for long as it runs at first: throttling, and slowing down; a reason each."""
    if not windows:
        return []
    hot = next((window for window in windows if window.throttled is not None and throttling(window.throttled)), None)
    reasons = [] if hot is None else [f"{throttling(hot.throttled or 0)} {hot.at:.0f} s into the sustained run"]
    if len(windows) < BLOCKS:
        return [*reasons, f"{len(windows)} windows tell nothing of a slowing down; ask for a longer --sustained"]
    return reasons + _slowing(windows)


def _slowing(windows: Sequence[Window]) -> list[str]:
    """The last fifth against the first, by stats.differ on the medians of blocks."""
    pieces = np.array_split(np.arange(len(windows)), BLOCKS)
    blocks = [float(np.median([windows[place].p50 for place in piece])) for piece in pieces]
    first, last = blocks[:FIFTH], blocks[-FIFTH:]
    slower = float(np.median(last) / np.median(first)) - 1
    if slower <= SLOWING_LIMIT or differ(first, last, SLOWING_LIMIT) >= LEVEL:
        return []
    begins = windows[pieces[_break(blocks)][0] - 1].at
    return [f"slows down by {slower:.0%} after {begins:.0f} s (limit {SLOWING_LIMIT:.0%})"]


def _break(blocks: Sequence[float]) -> int:
    """Where to divide the blocks in two so that each part is nearest to its own median; 1 to len(blocks) - 1."""

    def misfit(part: Sequence[float]) -> float:
        return float(np.abs(np.subtract(part, np.median(part))).sum())

    return min(range(1, len(blocks)), key=lambda place: misfit(blocks[:place]) + misfit(blocks[place:]))
