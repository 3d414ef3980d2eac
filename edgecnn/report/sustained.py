"""Latency over time of sustained runs as a line of characters each; pure formatting."""

from __future__ import annotations

import numpy as np

from edgecnn.measure.measurement import Measurement
from edgecnn.measure.trust import throttling

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*#@"  # for an output that cannot show blocks
WIDTH = 60  # characters of a line
LEAST_RANGE = 0.2  # the top of a line is at least so far above its bottom, or noise would look like hills


def plots(rows: list[tuple[str, Measurement]], characters: str = BLOCKS) -> list[str]:
    """A line per measurement that has a sustained run, under its name: median times from left to right.

    ``characters`` are the levels, the lowest first.
    """
    lines = [_plot(name, row, characters) for name, row in rows if row.sustained]
    head = f"sustained, time per image: {characters[0]} fastest, {characters[-1]} slowest, or {LEAST_RANGE:.0%} above"
    return [head, *lines] if lines else []


def _plot(name: str, row: Measurement, characters: str) -> str:
    windows = row.sustained
    times = [window.p50 / 1000 / row.case.batch for window in windows]
    columns = [float(np.median(piece)) for piece in np.array_split(times, min(WIDTH, len(times)))]
    bottom = min(columns)
    top = max(*columns, bottom * (1 + LEAST_RANGE))
    steps = [min(int((value - bottom) / (top - bottom) * len(characters)), len(characters) - 1) for value in columns]
    curve = "".join(characters[step] for step in steps)
    facts = [f"{bottom:.1f} to {max(columns):.1f} us", f"{windows[-1].at:.0f} s"]
    heat = [window.celsius for window in windows if window.celsius is not None]
    facts += [f"{heat[0]:.0f} to {max(heat):.0f} °C"] if heat else []
    clocks = [window.mhz for window in windows if window.mhz is not None]
    facts += [f"{min(clocks):.0f} to {max(clocks):.0f} MHz"] if clocks else []
    hot = next((window for window in windows if throttling(window.throttled or 0)), None)
    facts += [f"{throttling(hot.throttled or 0)} from {hot.at:.0f} s"] if hot else []
    return f"  {curve}  {name}: {', '.join(facts)}"
