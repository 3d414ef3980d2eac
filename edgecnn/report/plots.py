"""Which plots a section has, each drawn at the width that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgecnn.measure.machine import Machine
from edgecnn.measure.trust import throttling
from edgecnn.report import operations
from edgecnn.report.cells import recipe
from edgecnn.report.charts.bars import Bar, bars
from edgecnn.report.charts.frame import Heading
from edgecnn.report.charts.histogram import binned, histogram
from edgecnn.report.charts.lines import Panel, lines
from edgecnn.report.charts.scatter import Point, scatter
from edgecnn.report.markup import Markup
from edgecnn.report.numbers import brief, counted, micro, percent, size, span, tick
from edgecnn.report.sections import Row, Section


@dataclass(frozen=True)
class Plot:
    """A plot: ``name`` is fit for a file, ``draw`` takes the width in pixels; ``small`` ones stand many to a row."""

    name: str
    draw: Callable[[float], Markup]
    small: bool = False


@dataclass(frozen=True)
class Group:
    """Plots under one heading, and what must be known to read them."""

    heading: str
    note: str
    plots: tuple[Plot, ...]


def groups(section: Section) -> list[Group]:
    """The plots of a section; a group that would be empty is left out."""
    found = [
        _fronts(section),
        _instructions(section),
        _distributions(section),
        _sustained(section),
        _operations(section),
    ]
    return [group for group in found if group.plots]


def machine_name(machine: Machine) -> str:
    """A line that says which machine it is."""
    name = f"{machine.board}, {machine.cpu}" if machine.board else machine.cpu
    return f"{name}, emulated" if machine.emulated and "emulated" not in name else name


def _fronts(section: Section) -> Group:
    scored = [row for row in section.rows if row.accuracy is not None]
    where = machine_name(section.machine)
    plots = []
    if scored:
        cost = "instructions per image, emulated" if section.machine.emulated else "median latency per image, µs"
        plots = [
            Plot(f"accuracy-{section.cost}", lambda width: _scatter(section, scored, section.cost, cost, where, width)),
            Plot("accuracy-bytes", lambda width: _scatter(section, scored, "bytes", "bytes of the file", where, width)),
        ]
    note = (
        "Ringed points are on the Pareto front: no other file is at least as good in both and better in one. "
        "Bars are 95 % intervals, and points whose bars overlap may change places. #1 stands for row 1 of the table."
    )
    missing = len(section.rows) - len(scored)
    return Group("Accuracy against cost", note + (f" {missing} not scored, so not shown." if missing else ""),
                 tuple(plots))  # fmt: skip


def _scatter(section: Section, rows: list[Row], cost: str, title: str, where: str, width: float) -> Markup:
    points = []
    for row in rows:
        assert row.accuracy is not None
        share, interval = row.accuracy
        x, x_interval = (float(row.measurement.case.bytes), None) if cost == "bytes" else row.cost
        shown = f"{row.measurement.case.bytes:,} bytes" if cost == "bytes" else _shown(cost, x)
        said = f"{row.name}, {recipe(row)}, {row.measurement.case.runtime}: {percent(share)}, {shown}"
        points.append(
            Point(x, 100 * share, x_interval, (100 * interval.low, 100 * interval.high), row.label, f"#{row.number}",
                  said, row.series, cost in row.fronts, row.invalid)
        )  # fmt: skip
    best = [point.told for point in points if point.front]
    told = f"{len(points)} {'files' if len(points) > 1 else 'file'}. On the Pareto front: {'; '.join(best) or 'none'}."
    heading = Heading(f"Accuracy against {cost}", where, told, section.invalid)
    show = {"bytes": lambda value: brief(size(round(value))), "latency": tick, "instructions": _brief_count}[cost]
    return scatter(heading, points, section.series, title, "accuracy, %", show, tick, width)


def _shown(cost: str, value: float) -> str:
    return micro(value) if cost == "latency" else f"{counted(value)} instructions (emulated)"


def _brief_count(value: float) -> str:
    return brief(counted(value))


def _instructions(section: Section) -> Group:
    rows = [row for row in section.rows if row.measurement.emulation is not None]
    where = machine_name(section.machine)
    told = [f"{row.name}, {recipe(row)}: {_shown('instructions', row.cost[0])}" for row in rows]
    drawn = [
        Bar(row.label, row.cost[0], counted(row.cost[0]), said, row.series)
        for row, said in zip(rows, told, strict=True)
    ]
    heading = Heading("Instructions per image, emulated", where, "; ".join(bar.told for bar in drawn), section.invalid)
    title = "instructions executed per image"
    plot = Plot("instructions", lambda width: bars(heading, drawn, section.series, title, _brief_count, width))
    note = "Counted on an emulated CPU: the cost of a file, repeatable, and not a time."
    return Group("Instructions", note, (plot,) if drawn else ())


def _distributions(section: Section) -> Group:
    rows = [row for row in section.rows if row.measurement.runs]
    note = (
        "Each hill is one run, a process of its own; its tick is its median. Every figure has an axis of its own, "
        "logarithmic, that leaves out the slowest few percent of calls; what lies beyond is named at its end."
    )
    return Group("Latency distributions", note, tuple(_distribution(section, row) for row in rows))


def _distribution(section: Section, row: Row) -> Plot:
    case, known = row.measurement.case, row.figures
    assert known is not None
    samples = [np.asarray(run.samples, np.float64) / 1000 / case.batch for run in row.measurement.runs]
    ends, hills, outside = binned(samples)
    slowest = micro(float(max(run.max() for run in samples)))
    told = (
        f"{known.samples:,} calls in {len(samples)} runs, half within {micro(known.p50)}, 90 % within "
        f"{micro(known.p90)}, 99 % within {micro(known.p99)}, the slowest {slowest}; {percent(outside, 1)} not shown."
    )
    marked = [("p50", known.p50), ("p90", known.p90), ("p99", known.p99)]
    subtitle = f"{recipe(row)}, {case.runtime}; {known.samples:,} calls, slowest {slowest}"
    heading = Heading(row.label, subtitle, told, _why(row))
    shown = [(f"{name} {micro(value)}", value) for name, value in marked]
    colour = section.series[row.series].colour

    def draw(width: float) -> Markup:
        return histogram(heading, ends, hills, shown, colour, "µs per image", tick, width)

    return Plot(f"distribution-{row.number}", draw, small=True)


def _sustained(section: Section) -> Group:
    rows = [row for row in section.rows if row.measurement.sustained]
    note = "Without a rest, one file after another: the median of each stretch of time. Red stretches were throttled."
    return Group("Sustained latency", note, tuple(_over_time(section, row) for row in rows))


def _over_time(section: Section, row: Row) -> Plot:
    windows, case = row.measurement.sustained, row.measurement.case
    latency = tuple(window.p50 / 1000 / case.batch for window in windows)
    clocks, heats = tuple(window.mhz for window in windows), tuple(window.celsius for window in windows)
    bad = [bool(throttling(window.throttled or 0)) for window in windows]
    panels = [Panel("median per image, µs", latency, tick, section.series[row.series].colour, 120)]
    if any(value is not None for value in clocks):
        panels.append(Panel("clock, MHz", clocks, tick, 4, 56))
    if any(value is not None for value in heats):
        panels.append(Panel("temperature, °C", heats, tick, 5, 56))
    throttled = f", throttled in {sum(bad)} of {len(bad)} stretches" if any(bad) else ""
    change = f"{span(micro(min(latency)), micro(max(latency)))}{throttled}"
    heading = Heading(row.label, f"{recipe(row)}, {case.runtime}; {change}", f"{change} over {windows[-1].at:.0f} s.",
                      _why(row))  # fmt: skip
    times = [window.at for window in windows]

    def draw(width: float) -> Markup:
        return lines(heading, times, panels, bad, "seconds since the start", tick, width)

    return Plot(f"sustained-{row.number}", draw, small=True)


def _operations(section: Section) -> Group:
    where = machine_name(section.machine)
    plots = tuple(
        Plot(f"operations-{number}", partial(operations.chart, each, where))
        for number, each in enumerate(section.profiles, 1)
    )
    return Group("Operations", operations.NOTE, plots)


def _why(row: Row) -> str | None:
    """Why the figures of a row must not be used, or None."""
    if not row.invalid:
        return None
    verdict = row.source.session.verdict if row.source.session.invalid else row.measurement.verdict
    return "; ".join(verdict.reasons)
