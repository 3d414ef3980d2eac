"""Curves over the same stretch of time, each in a panel of its own, one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecnn.report.charts.frame import EDGE, Heading, axis_x, axis_y, chart, headline, left_of
from edgecnn.report.charts.scale import Scale, widened
from edgecnn.report.markup import Markup, tag

_GAP = 34.0  # pixels between panels, for the title of the lower one


@dataclass(frozen=True)
class Panel:
    """Values at the times of the chart, at least one of them not None."""

    title: str
    values: tuple[float | None, ...]
    show: Callable[[float], str]
    colour: int
    height: float


def lines(
    heading: Heading, times: Sequence[float], panels: Sequence[Panel], bad: Sequence[bool], x_title: str,
    show_x: Callable[[float], str], width: float,
) -> Markup:  # fmt: skip
    """The chart of at least one time (from 0 on) and one panel; the times that are ``bad`` are shaded and crossed."""
    head, down = headline(heading, width)
    scales, top = [], down + 22
    for panel in panels:
        known = [value for value in panel.values if value is not None]
        scales.append(Scale(*widened(min(known), max(known), log=False, by=0.15), top + panel.height, top))
        top += panel.height + _GAP
    bottom = scales[-1].start
    left = max(left_of(scale, panel.show) for scale, panel in zip(scales, panels, strict=True))
    x = Scale(0, max(times[-1], 1e-9), left, width - EDGE - 8)
    first = scales[0].end
    shades = [
        tag("rect", tag("title", "throttled"), x=x.at(begin), y=first, width=max(x.at(end) - x.at(begin), 1),
            height=bottom - first, class_="bad-ground")
        for begin, end, is_bad in zip((0.0, *times), times, bad, strict=False) if is_bad
    ]  # fmt: skip
    drawn = []
    for panel, scale in zip(panels, scales, strict=True):
        places = [(x.at(at), value) for at, value in zip(times, panel.values, strict=True)]
        drawn.append(axis_y(scale, x.start, x.end, panel.title, panel.show))
        drawn.append(tag("path", d=_curve(places, scale), class_=f"curve line{panel.colour}"))
        dots = [f"M{at:.1f} {scale.at(value):.1f}h0" for at, value in places if value is not None]
        drawn.append(tag("path", d="".join(dots), class_=f"dots line{panel.colour}"))
    return chart(heading, width, bottom + 46, head, *shades, axis_x(x, first, bottom, x_title, show_x), *drawn)


def _curve(places: Sequence[tuple[float, float | None]], scale: Scale) -> str:
    """A path through the values, broken where there is none."""
    words, pen = [], "M"
    for at, value in places:
        if value is None:
            pen = "M"
        else:
            words.append(f"{pen}{at:.1f} {scale.at(value):.1f}")
            pen = "L"
    return "".join(words)
