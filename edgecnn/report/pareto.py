"""Which of several choices are worth a thought: the Pareto front of cost and gain."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """For each (cost, gain), whether no other point beats it.

    Another point beats it that costs no more and gains no less, and is better in one of the two. Equal points do not
    beat each other.
    """
    best = float("-inf")  # the highest gain of all that costs less
    kept: dict[tuple[float, float], bool] = {}
    for cost, gain in sorted(set(points), key=lambda point: (point[0], -point[1])):
        kept[cost, gain] = gain > best
        best = max(best, gain)
    return tuple(kept[point] for point in points)
