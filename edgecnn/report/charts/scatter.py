"""Points with intervals in both directions, their names, and the Pareto front through the best of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgecnn.report.charts.frame import (
    EDGE,
    Heading,
    Series,
    axis_x,
    axis_y,
    chart,
    headline,
    left_of,
    legend,
    series_entries,
    shortened,
    text_width,
)  # fmt: skip
from edgecnn.report.charts.labels import Box, around, place
from edgecnn.report.charts.marks import RADIUS, cross, frontier_sample, mark, ring
from edgecnn.report.charts.scale import Scale, widened
from edgecnn.report.markup import Markup, join, tag

LINE = 15.0  # pixels of height of a name
TOUCH = 14.0  # pixels around a point that show its tooltip


@dataclass(frozen=True)
class Point:
    """A cost (x, above 0) and a gain (y), with their intervals where there are some.

    ``name`` is written beside it, if it is not empty, or ``short`` where that has no room, and ``told`` is its tooltip.
    ``front`` puts it on the Pareto front; an ``invalid`` one is crossed out.
    """

    x: float
    y: float
    x_interval: tuple[float, float] | None
    y_interval: tuple[float, float] | None
    name: str
    short: str
    told: str
    series: int
    front: bool
    invalid: bool


def scatter(
    heading: Heading, points: Sequence[Point], series: Sequence[Series], x_title: str, y_title: str,
    show_x: Callable[[float], str], show_y: Callable[[float], str], width: float,
) -> Markup:  # fmt: skip
    """The chart, its x axis logarithmic; at least one point."""
    head, down = headline(heading, width)
    entries = series_entries(series)
    if any(point.front for point in points):
        entries.append((frontier_sample(), "Pareto front"))
    if any(point.invalid for point in points):
        entries.append((cross(0, 0), "INVALID"))
    key, down = legend(entries, width, down)
    top = down + 26
    height = top + (300 if width > 400 else 260) + 46
    bottom = height - 46
    ys = [value for point in points for value in (point.y, *(point.y_interval or ()))]
    xs = [value for point in points for value in (point.x, *(point.x_interval or ()))]
    y = Scale(*widened(min(ys), max(ys), log=False), bottom, top)
    x = Scale(*widened(min(xs), max(xs), log=True, by=0.09, least=2), left_of(y, show_y), width - EDGE - 14, log=True)
    room = Box(x.start + 2, top + 1, width - 6, bottom - 2)
    names, leaders = _names(points, series, x, y, room)
    return chart(
        heading, width, height, head, key,
        axis_x(x, top, bottom, x_title, show_x), axis_y(y, x.start, x.end, y_title, show_y),
        _frontier(_steps(points, x, y)), *(_intervals(point, series[point.series], x, y) for point in points),
        leaders, *(_drawn(point, series[point.series], x, y) for point in points), names,
    )  # fmt: skip


def _steps(points: Sequence[Point], x: Scale, y: Scale) -> list[tuple[float, float]]:
    """Corners of the Pareto front, if there is one: up to the next point's gain one pays that point's cost."""
    best = sorted({(point.x, point.y) for point in points if point.front})
    places = [(x.at(cost), y.at(gain)) for cost, gain in best]
    ends = [right for right, _ in places[1:]] + [x.end]
    return [corner for (left, up), end in zip(places, ends, strict=False) for corner in ((left, up), (end, up))]


def _frontier(corners: Sequence[tuple[float, float]]) -> Markup:
    path = "L".join(f"{right:.1f} {up:.1f}" for right, up in corners)
    return tag("path", d=f"M{path}", class_="frontier") if corners else join()


def _intervals(point: Point, series: Series, x: Scale, y: Scale) -> Markup:
    parts = []
    if point.x_interval is not None:
        parts.append(f"M{x.at(point.x_interval[0]):.1f} {y.at(point.y):.1f}H{x.at(point.x_interval[1]):.1f}")
    if point.y_interval is not None:
        parts.append(f"M{x.at(point.x):.1f} {y.at(point.y_interval[0]):.1f}V{y.at(point.y_interval[1]):.1f}")
    return tag("path", d="".join(parts), class_=f"interval line{series.colour}")


def _drawn(point: Point, series: Series, x: Scale, y: Scale) -> Markup:
    across, down = x.at(point.x), y.at(point.y)
    said = f"{'INVALID: ' if point.invalid else ''}{point.told}{' (on the Pareto front)' if point.front else ''}"
    touch = tag("circle", cx=across, cy=down, r=TOUCH, fill="transparent")
    drawn = mark(series.shape, across, down, class_=f"fill{series.colour} halo")
    around_it = ring(across, down) if point.front else ""
    over_it = cross(across, down) if point.invalid else ""
    return tag("g", tag("title", said), touch, around_it, drawn, over_it, class_="point")


def _names(points: Sequence[Point], series: Sequence[Series], x: Scale, y: Scale, room: Box) -> tuple[Markup, Markup]:
    """The points' names, those on the front first, and leaders to names that lie away from their points."""
    order = sorted(points, key=lambda point: (not point.front, point.x))
    anchors = [(x.at(point.x), y.at(point.y)) for point in order]
    marks = [around(*anchor, RADIUS + 4.5) for anchor in anchors]
    lines = [
        Box(min(one, two) - 1, min(up, down) - 1, max(one, two) + 1, max(up, down) + 1)
        for (one, up), (two, down) in pairwise(_steps(points, x, y))
    ]
    for point, (across, down) in zip(order, anchors, strict=True):
        if point.y_interval is not None:
            low, high = (y.at(value) for value in point.y_interval)
            lines.append(Box(across - 1, high, across + 1, low))
        if point.x_interval is not None:
            left, right = (x.at(value) for value in point.x_interval)
            lines.append(Box(left, down - 1, right, down + 1))
    named = [(point, anchor) for point, anchor in zip(order, anchors, strict=True) if point.name]
    shown = [(shortened(point.name, 0.6 * (room.right - room.left)), point.short) for point, _ in named]
    sizes = [[(text_width(text), LINE) for text in texts] for texts in shown]
    names, leaders = [], []
    placed = place([anchor for _, anchor in named], sizes, room, marks, lines)
    for (point, anchor), texts, found in zip(named, shown, placed, strict=True):
        if found is None:
            continue
        (choice, box), (across, down) = found, anchor
        to_x, to_y = box.nearest(across, down)
        if abs(to_x - across) + abs(to_y - down) > 2 * RADIUS + 6:
            leaders.append(tag("path", d=f"M{across:.1f} {down:.1f}L{to_x:.1f} {to_y:.1f}", class_="leader"))
        middle = (box.left + box.right) / 2
        class_ = f"label{' bad' if point.invalid else f' fill{series[point.series].colour}'}"
        names.append(tag("text", texts[choice], x=middle, y=box.bottom - 4, text_anchor="middle", class_=class_))
    return join(*names), join(*leaders)
