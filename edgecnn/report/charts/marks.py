"""Shapes of points, so that colour is never the only thing that tells them apart."""

from __future__ import annotations

import math

from edgecnn.report.markup import Markup, tag

SHAPES = 8
RADIUS = 5.0  # pixels


def mark(shape: int, x: float, y: float, *inside: str, class_: str, radius: float = RADIUS) -> Markup:
    """The shape of a number, 0 to 7, around a place; ``inside`` is for its <title>."""
    if shape == 0:
        return tag("circle", *inside, cx=x, cy=y, r=radius, class_=class_)
    return tag("path", *inside, d=_outline(shape, x, y, radius), class_=class_)


def cross(x: float, y: float, radius: float = RADIUS + 3.5) -> Markup:
    """A cross over a point that must not be used."""
    falling = f"M{x - radius:.1f} {y - radius:.1f}l{2 * radius:.1f} {2 * radius:.1f}"
    rising = f"M{x - radius:.1f} {y + radius:.1f}l{2 * radius:.1f} {-2 * radius:.1f}"
    return tag("path", d=falling + rising, class_="cross")


def ring(x: float, y: float) -> Markup:
    """A ring around a point of the Pareto front."""
    return tag("circle", cx=x, cy=y, r=RADIUS + 4, class_="ring")


def frontier_sample() -> Markup:
    """What a legend shows for the Pareto front."""
    return tag("circle", cx=0, cy=0, r=RADIUS + 1.5, class_="ring")


def _outline(shape: int, x: float, y: float, radius: float) -> str:
    """Corners of a shape with about a circle's area, as a path."""
    if shape == 1:
        corners = _regular(4, radius * 1.25, 45)
    elif shape == 2:
        corners = _regular(3, radius * 1.45, -90)
    elif shape == 3:
        corners = _regular(4, radius * 1.35, 0)
    elif shape == 4:
        corners = _regular(3, radius * 1.45, 90)
    elif shape == 5:
        thin, far = radius * 0.42, radius * 1.25
        arm = [(thin, -far), (thin, -thin), (far, -thin)]
        corners = [*arm, *((-b, a) for a, b in arm), *((-a, -b) for a, b in arm), *((b, -a) for a, b in arm)]
    elif shape == 6:
        tips, dents = _regular(5, radius * 1.5, -90), _regular(5, radius * 0.65, -54)
        corners = [corner for pair in zip(tips, dents, strict=True) for corner in pair]
    else:
        corners = _regular(6, radius * 1.15, 0)
    return "M" + "L".join(f"{x + right:.1f} {y + down:.1f}" for right, down in corners) + "Z"


def _regular(corners: int, radius: float, first: float) -> list[tuple[float, float]]:
    angles = [math.radians(first + 360 * number / corners) for number in range(corners)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
