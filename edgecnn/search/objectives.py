"""What is searched for, and which of several results are worth a thought in all of it at once."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.errors import UnknownNameError, UsageError

ACCURACY, LATENCY, BYTES, MACS = "accuracy", "latency", "bytes", "macs"
COSTS = (LATENCY, BYTES, MACS)
OBJECTIVES = (ACCURACY, *COSTS)
TABLE = "table:"  # a target that begins so is a file of latencies

Point = tuple[float, ...]  # less is better in each


def parse(text: str) -> tuple[str, ...]:
    """The objectives that words with commas between them name, accuracy first.

    Raises UnknownNameError for one there is not, UsageError without accuracy and at least one cost.
    """
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in OBJECTIVES:
            raise UnknownNameError("objective", word, OBJECTIVES)
    found = tuple(name for name in OBJECTIVES if name in words)
    if ACCURACY not in found or len(found) < 2:
        raise UsageError(
            f"--objective '{text}' is no search (valid: {ACCURACY} and one or more of {', '.join(COSTS)}, as in "
            f"{ACCURACY},{LATENCY},{BYTES})"
        )
    return found


def point(accuracy: float, costs: Sequence[float]) -> Point:
    """A result as less-is-better values."""
    return (-accuracy, *costs)


def beats(one: Point, other: Point) -> bool:
    """Whether ``one`` is no worse in anything and better in something."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def front(points: Sequence[Point]) -> tuple[bool, ...]:
    """For each point, whether no other beats it. Equal points do not beat each other."""
    return tuple(not any(beats(other, each) for other in points) for each in points)


def better_layers(own: Point, others: Sequence[Point]) -> int:
    """How many of ``others`` lie on earlier fronts than ``own``: the front of all is the first, then that of the rest.

    This is the sorting of K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002).
    """
    left, passed = list(others), 0
    while any(beats(each, own) for each in left):
        kept = front([*left, own])[:-1]
        passed += sum(kept)
        left = [each for each, on_front in zip(left, kept, strict=True) if not on_front]
    return passed
