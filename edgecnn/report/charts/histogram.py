"""How often a call took how long: a hill for each run, one below the other, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgecnn.report.charts.frame import EDGE, Heading, axis_x, chart, headline, text_width
from edgecnn.report.charts.scale import Scale, widened
from edgecnn.report.markup import Markup, join, tag

BINS = 72
MOST_HILLS = 10  # more runs than this share one hill
_HILL, _OVERLAP = 30.0, 8.0  # pixels of a hill's height, and by how much it may reach into the one above
_FIRST, _MOST, _LAST = 0.5, 75, 97  # percentiles: from the first to the second all runs are drawn, most to the last


@dataclass(frozen=True)
class Hill:
    """A share of calls for each bin, and the median, of one run or of several."""

    name: str
    shares: tuple[float, ...]
    median: float


def binned(runs: Sequence[np.ndarray]) -> tuple[tuple[float, float], tuple[Hill, ...], float]:
    """Samples of runs (above 0, each run at least one) as ((low, high), hills, share of samples outside).

    The bins are equally wide on a logarithmic axis. Their ends leave out the slowest 3 % of most runs: calls that the
    scheduler put aside for milliseconds would else press all others into one bin.
    """
    ends = np.array([np.percentile(run, (_FIRST, _MOST, _LAST)) for run in runs])
    low, high = widened(float(ends[:, 0].min()), float(max(ends[:, 1].max(), np.median(ends[:, 2]))), log=True)
    edges = np.geomspace(low, high, BINS + 1)
    groups = {f"run {number}": run for number, run in enumerate(runs, 1)}
    if len(groups) > MOST_HILLS:
        groups = {f"all {len(runs)}": np.concatenate(runs)}
    hills = []
    for name, samples in groups.items():
        shares = np.histogram(samples, edges)[0] / len(samples)
        hills.append(Hill(name, tuple(float(share) for share in shares), float(np.median(samples))))
    everything = np.concatenate(runs)
    outside = float(np.mean((everything < low) | (everything > high)))
    return (low, high), tuple(hills), outside


def histogram(
    heading: Heading, ends: tuple[float, float], hills: Sequence[Hill], marked: Sequence[tuple[str, float]],
    colour: int, title: str, show: Callable[[float], str], width: float,
) -> Markup:  # fmt: skip
    """The chart of ``binned`` hills, each as high as its own peak.

    ``marked`` are values to be named, least first; one beyond the axis is named at its end.
    """
    head, down = headline(heading, width)
    left = EDGE + 8 + max(text_width(hill.name, 11) for hill in hills)
    x = Scale(*ends, left, width - EDGE - 14, log=True)
    names, rows = _marked(marked, x, down + 16)
    top = down + 16 * rows + 8
    bottom = top + _OVERLAP + (_HILL - _OVERLAP) * len(hills) + 4
    drawn = []
    for place, hill in enumerate(hills):
        base = top + _OVERLAP + (_HILL - _OVERLAP) * (place + 1)
        middle = x.at(hill.median)
        drawn += [
            tag("path", d=_outline(hill, x, base), class_=f"area fill{colour} line{colour}"),
            tag("path", d=f"M{middle:.1f} {base:.1f}v-9", class_="mark"),
            tag("text", hill.name, x=left - 6, y=base, text_anchor="end", class_="soft small"),
        ]
    lines = [tag("path", d=f"M{x.at(value):.1f} {top - 6:.1f}V{bottom:.1f}", class_="leader")
             for _, value in marked if value <= x.high]  # fmt: skip
    return chart(heading, width, bottom + 44, head, axis_x(x, top, bottom, title, show), *lines, *drawn, names)


def _outline(hill: Hill, x: Scale, base: float) -> str:
    """The hill as a closed path along the middles of its bins, at most _HILL high."""
    step = (x.end - x.start) / len(hill.shares)
    peak = max(hill.shares) or 1
    tops = [(x.start + (place + 0.5) * step, base - _HILL * share / peak) for place, share in enumerate(hill.shares)]
    inside = "L".join(f"{across:.1f} {up:.1f}" for across, up in tops)
    return f"M{x.start:.1f} {base:.1f}L{inside}L{x.end:.1f} {base:.1f}Z"


def _marked(marked: Sequence[tuple[str, float]], x: Scale, y: float) -> tuple[Markup, int]:
    """The names of values above their lines, in lines of text of their own where they would collide."""
    ends: list[float] = []  # how far to the right each line of text is taken
    drawn = []
    for name, value in marked:
        name = f"{name} ›" if value > x.high else name
        wide = text_width(name, 11)
        middle = min(max(x.at(value), x.start + wide / 2), x.end - wide / 2)
        row = next((number for number, end in enumerate(ends) if end < middle - wide / 2), len(ends))
        ends[row : row + 1] = [middle + wide / 2 + 4]
        drawn.append((name, middle, row))
    rows = len(ends)
    texts = [
        tag("text", name, x=middle, y=y + 14 * row, text_anchor="middle", class_="label small")
        for name, middle, row in drawn
    ]
    return join(*texts), rows
