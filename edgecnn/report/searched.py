"""What a search found, as text and as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from edgecnn.report.charts.frame import Heading, Series
from edgecnn.report.charts.scatter import Point, scatter
from edgecnn.report.markup import Markup, join, tag
from edgecnn.report.numbers import brief, counted, percent, size, tick
from edgecnn.report.pareto import front
from edgecnn.report.plots import Group, Plot
from edgecnn.report.sheet import plotted, sheet
from edgecnn.report.table import table

NONE = "No trial was trained to the end."
TITLES = {"bytes": "bytes of the static_w8a8 file", "macs": "multiply-accumulates", "latency": "latency"}
NOTE = (
    "Accuracy of the quantized network on training images that were held out, after a short training: it ranks, and is "
    "below what a full training reaches. Numbered trials are on the front: no other is at least as good in all "
    "objectives and better in one. Ringed ones are on that of the two that are drawn."
)


@dataclass(frozen=True)
class Tried:
    """A trial that was trained to the end: ``costs`` by their names, and the ``commands`` that make it in full."""

    number: int
    design: str
    accuracy: float
    costs: Mapping[str, float]
    commands: Sequence[str]


@dataclass(frozen=True)
class Searched:
    """A search as far as it has come: trials on the ``front``, the most accurate first, and those ``beaten``.

    ``facts`` are names and what is said of them, ``reference`` is what latency is a share of.
    """

    title: str
    state: str
    facts: Sequence[tuple[str, str]]
    front: Sequence[Tried]
    beaten: Sequence[Tried]
    reference: str


def text(searched: Searched) -> str:
    """The front as a table for people, or a line that says that there is none."""
    if not searched.front:
        return NONE
    names = _costs(searched)
    rows = [
        (str(each.number), percent(each.accuracy), *(_shown(name, each.costs[name]) for name in names), each.design)
        for each in searched.front
    ]
    return table(["trial", "accuracy", *names, "design"], rows, "rr" + "r" * len(names) + "l")


def page(searched: Searched) -> str:
    """The HTML document."""
    facts = [join(tag("dt", name), tag("dd", said)) for name, said in searched.facts]
    parts = [tag("h1", searched.title), tag("p", searched.state, class_="note")]
    if searched.front:
        parts += [tag("h3", "The front"), _table(searched), plotted(_plots(searched))]
        parts += [tag("h3", "To make one in full"), *(_commands(each) for each in searched.front)]
    else:
        parts.append(tag("p", NONE))
    return sheet(f"{searched.title}: {searched.state}", *parts, tag("h3", "What was asked for"), tag("dl", *facts))


def _costs(searched: Searched) -> list[str]:
    return [name for name in TITLES if all(name in each.costs for each in (*searched.front, *searched.beaten))]


def _shown(name: str, value: float) -> str:
    return f"{value:.3f}" if name == "latency" else f"{value:,.0f}"


def _table(searched: Searched) -> Markup:
    names = _costs(searched)
    headings = ["design", "accuracy", *names]
    head = tag("thead", tag("tr", *(
        tag("th", name, scope="col", role="columnheader", class_="number" if place else None)
        for place, name in enumerate(headings)
    ), role="row"), role="rowgroup")  # fmt: skip
    rows = []
    for each in searched.front:
        named = tag("th", tag("span", str(each.number), class_="index"), each.design, scope="row", role="rowheader")
        cells = [percent(each.accuracy), *(_shown(name, each.costs[name]) for name in names)]
        others = [
            tag("td", cell, role="cell", data_label=heading, class_="number")
            for heading, cell in zip(headings[1:], cells, strict=True)
        ]
        rows.append(tag("tr", named, *others, role="row"))
    drawn = tag("table", head, tag("tbody", *rows, role="rowgroup"), role="table", aria_label="The front")
    return tag("div", drawn, class_="scroll cards", role="region", aria_label="The front, table", tabindex="0")


def _plots(searched: Searched) -> Group:
    plots = tuple(Plot(f"accuracy-{name}", partial(_scatter, searched, name)) for name in _costs(searched))
    return Group("Accuracy against cost", NOTE, plots)


def _scatter(searched: Searched, name: str, width: float) -> Markup:
    show: dict[str, Callable[[float], str]] = {
        "bytes": lambda value: brief(size(round(value))), "macs": lambda value: brief(counted(value)), "latency": tick,
    }  # fmt: skip
    title = f"{TITLES[name]}, as a share of {searched.reference}'s" if name == "latency" else TITLES[name]
    drawn = [(each, 0, f"#{each.number}") for each in searched.front] + [(each, 1, "") for each in searched.beaten]
    ringed = front([(each.costs[name], each.accuracy) for each, _, _ in drawn])
    points = [
        Point(each.costs[name], 100 * each.accuracy, None, None, label, label,
              f"#{each.number} {each.design}: {percent(each.accuracy)}, {_shown(name, each.costs[name])} {name}",
              series, on_ring, False)
        for (each, series, label), on_ring in zip(drawn, ringed, strict=True)
    ]  # fmt: skip
    told = f"{len(points)} trials. On the Pareto front: {'; '.join(each.told for each in points if each.front)}."
    heading = Heading(f"Accuracy against {name}", searched.state, told)
    series = [Series("on the front", 0, 0), Series("trained, beaten", 1, 1)]
    return scatter(heading, points, series, title, "accuracy on held-out images, %", show[name], tick, width)


def _commands(tried: Tried) -> Markup:
    lines = "\n".join(tried.commands)
    return join(tag("p", f"#{tried.number}, {percent(tried.accuracy)}:"), tag("pre", tag("code", lines)))
