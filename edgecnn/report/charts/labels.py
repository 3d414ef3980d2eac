"""Where the names of points go, so that none lies on another, on a point, or outside the plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_DISTANCES = (9, 15, 24, 36, 50, 68)  # pixels from the point to the nearest edge of its name
_DIRECTIONS = 16
_CROSSED = 22  # what lying on a line costs, in pixels of distance


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have room in common."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)

    def within(self, other: Box) -> bool:
        """Whether this one lies in the other."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.top <= self.top and self.bottom <= other.bottom

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The place in the box that is nearest to another."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


def around(x: float, y: float, radius: float) -> Box:
    """The square around a place."""
    return Box(x - radius, y - radius, x + radius, y + radius)


def place(
    anchors: Sequence[tuple[float, float]], sizes: Sequence[Sequence[tuple[float, float]]], room: Box,
    marks: Sequence[Box], lines: Sequence[Box],
) -> list[tuple[int, Box] | None]:  # fmt: skip
    """A name and a box for each point, the first ones choosing first; None where no name fits.

    ``anchors`` are the points' places; ``sizes`` has (width, height) of each name that a point may bear, and the first
    that fits is taken. A name lies within ``room`` and on none of ``marks``, other names, or the leaders to them; it
    avoids ``lines`` where it can.
    """
    taken: list[Box] = list(marks)
    placed: list[tuple[int, Box] | None] = []
    for (x, y), choices in zip(anchors, sizes, strict=True):
        boxes = ((number, _best(x, y, size, room, taken, lines)) for number, size in enumerate(choices))
        found = next(((number, box) for number, box in boxes if box is not None), None)
        if found is not None:
            taken += [found[1], *_leader(x, y, found[1])]
        placed.append(found)
    return placed


def _best(
    x: float, y: float, size: tuple[float, float], room: Box, taken: Sequence[Box], lines: Sequence[Box]
) -> Box | None:
    """The cheapest box for a name of this size, if there is any."""
    best, least = None, math.inf
    reach_x, reach_y = _DISTANCES[-1] + size[0], _DISTANCES[-1] + size[1]
    reach = Box(x - reach_x, y - reach_y, x + reach_x, y + reach_y)
    taken = [other for other in taken if other.meets(reach)]
    for cost, box in _candidates(x, y, *size):
        if cost >= least or not box.within(room) or any(box.meets(other) for other in taken):
            continue
        path = list(_leader(x, y, box))
        if any(step.meets(other) for step in path for other in taken if not _holds(other, x, y)):
            continue
        cost += _CROSSED * sum(box.meets(line) for line in lines)
        if cost < least:
            best, least = box, cost
    return best


def _candidates(x: float, y: float, width: float, height: float) -> Iterable[tuple[float, Box]]:
    for distance in _DISTANCES:
        for number in range(_DIRECTIONS):
            angle = 2 * math.pi * number / _DIRECTIONS
            right, down = math.cos(angle), math.sin(angle)
            middle, centre = x + right * (distance + width / 2), y + down * (distance + height / 2)
            box = Box(middle - width / 2, centre - height / 2, middle + width / 2, centre + height / 2)
            # Beside a point is better than above it, and that better than askew.
            yield distance + (0 if number in (0, 8) else 1 if number in (4, 12) else 2), box


def _leader(x: float, y: float, box: Box) -> Iterable[Box]:
    """Small boxes along the way from the point to its name, but for those that are near the point."""
    to_x, to_y = box.nearest(x, y)
    steps = int(math.hypot(to_x - x, to_y - y) / 3)
    for step in range(3, steps):
        yield around(x + (to_x - x) * step / steps, y + (to_y - y) * step / steps, 1)


def _holds(box: Box, x: float, y: float) -> bool:
    return box.left <= x <= box.right and box.top <= y <= box.bottom
