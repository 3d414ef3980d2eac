"""Bars from zero, each with its name above it or beside it, and its value at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecnn.report.charts.frame import (
    EDGE,
    Heading,
    Series,
    axis_x,
    chart,
    headline,
    legend,
    series_entries,
    shortened,
    text_width,
)  # fmt: skip
from edgecnn.report.charts.marks import mark
from edgecnn.report.charts.scale import Scale
from edgecnn.report.markup import Markup, join, tag

ROW, NAME = 24.0, 14.0  # pixels of height


@dataclass(frozen=True)
class Bar:
    """A value from 0 up, with its interval if it has one; ``shown`` is written at its end, ``told`` is its tooltip."""

    name: str
    value: float
    shown: str
    told: str
    series: int
    interval: tuple[float, float] | None = None


def bars(
    heading: Heading, rows: Sequence[Bar], series: Sequence[Series], title: str, show: Callable[[float], str],
    width: float,
) -> Markup:  # fmt: skip
    """The chart, its bars from top to bottom; at least one, and one above 0."""
    head, down = headline(heading, width)
    key, down = legend(series_entries(series), width, down) if len(series) > 1 else (join(), down)
    above = NAME if width < 400 else 0.0  # how far above its bar a name is; on a phone there is no room beside it
    height = ROW + above
    top, bottom = down + 6, down + 12 + height * len(rows)
    names = [shortened(row.name, width - 2 * EDGE if above else 0.42 * width) for row in rows]
    left = float(EDGE) if above else EDGE + 8 + max(map(text_width, names))
    scale = Scale(0, max(map(_end, rows)), left, width - EDGE - 8 - max(text_width(row.shown) for row in rows))
    drawn = [
        _drawn(row, name, series, scale, top + 3 + height * place, above, width)
        for place, (row, name) in enumerate(zip(rows, names, strict=True))
    ]
    axis = axis_x(scale, top, bottom, title, show)
    return chart(heading, width, bottom + 46, head, key, axis, *drawn)


def _drawn(
    row: Bar, name: str, series: Sequence[Series], scale: Scale, top: float, above: float, width: float
) -> Markup:
    """A bar from ``top`` on, with its name ``above`` it by so much, or beside it."""
    y, left, end = top + above, scale.start, scale.at(row.value)
    of = series[row.series]
    written = (
        tag("text", name, x=left, y=top + 13, class_="label")
        if above
        else tag("text", name, x=left - 8, y=y + 16, text_anchor="end", class_="label")
    )
    return tag(
        "g", tag("title", row.told),
        tag("rect", x=EDGE, y=top, width=width - 2 * EDGE, height=ROW + above, fill="transparent"), written,
        tag("rect", x=left, y=y + 4, width=max(end - left, 1), height=ROW - 8, rx=2, class_=f"fill{of.colour}"),
        mark(of.shape, left + 8, y + ROW / 2, class_="inner", radius=3.5)
        if len(series) > 1 and end - left > 18 else "",
        _whisker(row, scale, y + ROW / 2),
        tag("text", row.shown, x=max(scale.at(_end(row)), left + 1) + 6, y=y + 16, class_="label"),
    )  # fmt: skip


def _end(row: Bar) -> float:
    """The value that the row reaches to, its interval included."""
    return row.value if row.interval is None else max(row.value, row.interval[1])


def _whisker(row: Bar, scale: Scale, y: float) -> Markup:
    if row.interval is None:
        return join()
    low, high = (scale.at(value) for value in row.interval)
    return tag("path", d=f"M{low:.1f} {y - 3:.1f}v6m0-3H{high:.1f}m0-3v6", class_="mark")
