"""What all charts share: the SVG around them, a heading, axes, a legend and the width of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecnn.report.charts.marks import mark
from edgecnn.report.charts.scale import Scale
from edgecnn.report.markup import Markup, join, tag

WIDE, NARROW = 560, 336  # pixels: a column of a desktop's page, and a phone's
EDGE = 10  # pixels that stay empty at each side

# Widths of characters as a share of the font's size, rather too wide than too narrow.
_NARROW, _BROAD = set("ijltfrI.,:;'|!()[] "), set("mwMWGOQ@%µ#")


@dataclass(frozen=True)
class Heading:
    """A chart's title, the line below it, and what it shows in words; ``invalid`` is why it must not be used."""

    title: str
    subtitle: str
    told: str
    invalid: str | None = None


@dataclass(frozen=True)
class Series:
    """What a legend names: a colour of the theme, 0 to 5, and a shape of ``marks``."""

    name: str
    colour: int
    shape: int


def text_width(text: str, size: float = 12) -> float:
    """About how many pixels a text takes, rather more than less."""
    return size * sum(0.36 if each in _NARROW else 0.95 if each in _BROAD else 0.65 for each in text)


def shortened(text: str, room: float, size: float = 12) -> str:
    """The text, or as much of its begin as has room, and an ellipsis."""
    if text_width(text, size) <= room:
        return text
    while text and text_width(f"{text}…", size) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def chart(heading: Heading, width: float, height: float, *parts: str) -> Markup:
    """The SVG: its name and description for those who do not see it, its ground, and its parts."""
    told = heading.told if heading.invalid is None else f"INVALID: {heading.invalid}. {heading.told}"
    frame = tag("rect", x=1, y=1, width=width - 2, height=height - 2, class_="bad-frame") if heading.invalid else ""
    return tag(
        "svg", tag("title", heading.title), tag("desc", told), *parts, frame, xmlns="http://www.w3.org/2000/svg",
        class_="chart", role="img", viewBox=f"0 0 {width:g} {height:g}", width=width, height=height,
    )  # fmt: skip


def headline(heading: Heading, width: float) -> tuple[Markup, float]:
    """Title, subtitle and, if need be, INVALID and why; and how far down they reach."""
    room = width - 2 * EDGE
    title = tag("text", shortened(heading.title, room, 16), x=EDGE, y=24, class_="title")
    subtitle = tag("text", shortened(heading.subtitle, room, 11), x=EDGE, y=42, class_="soft small")
    if heading.invalid is None:
        return join(title, subtitle), 50
    said = shortened(f"INVALID: {heading.invalid}", room - 16, 14)  # bold letters of 13 pixels
    band = tag("rect", x=EDGE, y=52, width=room, height=24, rx=4, class_="bad-ground")
    return join(title, subtitle, band, tag("text", said, x=EDGE + 8, y=68, class_="stamp")), 84


def legend(entries: Sequence[tuple[Markup, str]], width: float, top: float) -> tuple[Markup, float]:
    """Marks drawn at (0, 0) and what they mean, in as many lines as they need; and how far down they reach."""
    parts, x, y = [], float(EDGE), top + 12
    for drawn, name in entries:
        shown = shortened(name, width - 2 * EDGE - 18)
        wide = 18 + text_width(shown)
        if x > EDGE and x + wide > width - EDGE:
            x, y = EDGE, y + 18
        parts.append(tag("g", drawn, transform=f"translate({x + 7:.1f} {y - 4:.1f})"))
        parts.append(tag("text", shown, x=x + 18, y=y))
        x += wide + 14
    return join(*parts), y + 8


def series_entries(series: Sequence[Series]) -> list[tuple[Markup, str]]:
    """Legend entries of the series."""
    return [(mark(each.shape, 0, 0, class_=f"fill{each.colour}"), each.name) for each in series]


def axis_x(scale: Scale, top: float, bottom: float, title: str, show: Callable[[float], str]) -> Markup:
    """Grid lines from ``top`` to ``bottom``, their values below, and the title below those: 42 pixels."""
    room = abs(scale.end - scale.start)
    widest = max((text_width(show(value)) for value in scale.ticks(9)), default=0)
    parts = []
    for value in scale.ticks(max(2, min(9, int(room / (widest + 12))))):
        place = scale.at(value)
        parts.append(tag("path", d=f"M{place:.1f} {top:.1f}V{bottom:.1f}", class_="grid"))
        parts.append(tag("text", show(value), x=place, y=bottom + 16, text_anchor="middle", class_="soft tick"))
    base = tag("path", d=f"M{scale.start:.1f} {bottom:.1f}H{scale.end:.1f}", class_="axis")
    middle = (scale.start + scale.end) / 2
    return join(*parts, base, tag("text", title, x=middle, y=bottom + 35, text_anchor="middle", class_="soft"))


def axis_y(scale: Scale, left: float, right: float, title: str, show: Callable[[float], str]) -> Markup:
    """Grid lines from ``left`` to ``right``, their values to the left, and the title above them."""
    parts = []
    for value in scale.ticks(max(2, int(abs(scale.end - scale.start) / 36))):
        place = scale.at(value)
        parts.append(tag("path", d=f"M{left:.1f} {place:.1f}H{right:.1f}", class_="grid"))
        parts.append(tag("text", show(value), x=left - 6, y=place + 4, text_anchor="end", class_="soft tick"))
    return join(*parts, tag("text", title, x=EDGE, y=min(scale.start, scale.end) - 9, class_="soft"))


def left_of(scale: Scale, show: Callable[[float], str]) -> float:
    """How many pixels the values of ``axis_y`` need at the left."""
    return EDGE + 8 + max((text_width(show(value)) for value in scale.ticks(12)), default=0)
