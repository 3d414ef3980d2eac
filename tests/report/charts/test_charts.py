"""Each chart by itself: well-formed, named and described, every value told, and INVALID where it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from edgecnn.report.charts.bars import Bar, bars
from edgecnn.report.charts.frame import NARROW, WIDE, Heading, Series, shortened, text_width
from edgecnn.report.charts.histogram import BINS, binned, histogram
from edgecnn.report.charts.lines import Panel, lines
from edgecnn.report.charts.marks import SHAPES, mark
from edgecnn.report.charts.scatter import Point, scatter
from edgecnn.report.markup import Markup
from edgecnn.report.numbers import tick

SVG = "{http://www.w3.org/2000/svg}"
HEADING = Heading("A <title>", "where & when", 'what it "shows"')
SERIES = [Series("float32", 0, 0), Series("static_w8a8", 1, 1)]
POINT = Point(10, 70, (9, 11), (68, 72), "slow", "#1", "slow: 70 %", 0, front=True, invalid=False)
BAD = dataclasses.replace(POINT, x=20, name="bad", told="bad: 70 %", series=1, front=False, invalid=True)

CHARTS: dict[str, Callable[[Heading, float], Markup]] = {
    "scatter": lambda heading, width: scatter(heading, [POINT, BAD], SERIES, "us", "%", tick, tick, width),
    "bars": lambda heading, width: bars(
        heading, [Bar("CONV_2D", 5, "5 us", "CONV_2D: 5 us", 0), Bar("ADD", 0, "0 us", "ADD: 0 us", 1)], SERIES, "us",
        tick, width
    ),
    "histogram": lambda heading, width: histogram(
        heading, *binned([np.arange(100.0, 200)])[:2], [("p50", 150), ("p99", 900)], 0, "us", tick, width
    ),
    "lines": lambda heading, width: lines(
        heading, [1, 2, 3], [Panel("us", (5, 6, 7), tick, 0, 100), Panel("MHz", (None, 9, None), tick, 1, 50)],
        [False, True, False], "s", tick, width
    ),
}  # fmt: skip


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_well_formed_named_and_described(name: str, width: float) -> None:
    root = ElementTree.fromstring(CHARTS[name](HEADING, width))
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    assert [each.tag for each in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert [each.text for each in root[:2]] == ["A <title>", 'what it "shows"']
    assert float(root.get("width", 0)) == width
    assert "INVALID" not in "".join(text.text or "" for text in root.iter(f"{SVG}text") if text.get("class") == "stamp")


@pytest.mark.parametrize("name", CHARTS)
def test_an_invalid_chart_says_so_in_text_and_in_its_description(name: str) -> None:
    root = ElementTree.fromstring(CHARTS[name](dataclasses.replace(HEADING, invalid="under-voltage"), WIDE))
    assert [each.text for each in root.iter(f"{SVG}text") if each.get("class") == "stamp"] == ["INVALID: under-voltage"]
    assert (root[1].text or "").startswith("INVALID: under-voltage.")


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", CHARTS)
def test_nothing_reaches_out_of_a_chart(name: str, width: float) -> None:
    root = ElementTree.fromstring(CHARTS[name](HEADING, width))
    for text in root.iter(f"{SVG}text"):
        x, wide = float(text.get("x", 0)), text_width(text.text or "")
        start = {"middle": x - wide / 2, "end": x - wide}.get(text.get("text-anchor", "start"), x)
        assert (start >= -1 and start + wide <= width + 1) or text.get("transform"), text.text


def test_points_have_tooltips_shapes_and_a_front() -> None:
    root = ElementTree.fromstring(CHARTS["scatter"](HEADING, WIDE))
    told = [each.findtext(f"{SVG}title") for each in root.iter(f"{SVG}g") if each.get("class") == "point"]
    assert told == ["slow: 70 % (on the Pareto front)", "INVALID: bad: 70 %"]
    classes = [each.get("class", "") for each in root.iter()]
    assert classes.count("frontier") == 1
    assert classes.count("cross") == 2  # one in the legend
    shown = [each.text for each in root.iter(f"{SVG}text")]
    assert {"slow", "bad", "float32", "static_w8a8", "Pareto front", "INVALID"} <= set(shown)


def test_every_shape_differs() -> None:
    assert len({mark(shape, 0, 0, class_="a") for shape in range(SHAPES)}) == SHAPES


def test_histogram_bins_hold_every_sample_but_the_slowest() -> None:
    run = np.concatenate([np.linspace(100, 110, 990), [5000.0] * 10])
    (low, high), hills, outside = binned([run, run])
    assert low < 100 and 110 < high < 200
    assert [hill.name for hill in hills] == ["run 1", "run 2"]
    assert len(hills[0].shares) == BINS
    assert sum(hills[0].shares) == pytest.approx(0.99)
    assert outside == pytest.approx(0.01)
    assert hills[0].median == pytest.approx(105, abs=0.1)


def test_one_disturbed_run_stretches_no_axis_and_a_slower_run_is_never_left_out() -> None:
    calm, disturbed = np.linspace(100, 110, 1000), np.concatenate([np.linspace(100, 110, 900), [5000.0] * 100])
    (_, high), _, _ = binned([calm, calm, disturbed])
    assert high < 120
    (_, high), hills, _ = binned([calm, calm, calm + 100])
    assert high > 205 and sum(hills[2].shares) > 0.7


def test_more_runs_than_there_is_room_for_share_one_hill() -> None:
    _, hills, _ = binned([np.array([1.0, 2.0])] * 11)
    assert [hill.name for hill in hills] == ["all 11"]


def test_samples_that_are_all_the_same_make_a_histogram() -> None:
    (low, high), hills, outside = binned([np.full(10, 3.0)])
    assert low < 3 < high and sum(hills[0].shares) == 1 and outside == 0


def test_a_curve_is_broken_where_nothing_was_told() -> None:
    panel = Panel("MHz", (1.0, None, 2.0, 3.0), tick, 0, 50)
    root = ElementTree.fromstring(lines(HEADING, [1, 2, 3, 4], [panel], [False] * 4, "s", tick, WIDE))
    (curve,) = [each.get("d", "") for each in root.iter() if (each.get("class") or "").startswith("curve")]
    assert curve.count("M") == 2 and curve.count("L") == 1


def test_a_text_that_has_no_room_ends_in_an_ellipsis() -> None:
    assert shortened("short", 100) == "short"
    cut = shortened("a name that goes on for ever", 60)
    assert cut.endswith("…") and text_width(cut) <= 60
