"""The page in a real browser: at both widths and in both colours it fits, reads well, and asks for nothing."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
from PIL import Image

from edgecnn.measure.dissection import Profile
from edgecnn.measure.measurement import Session
from edgecnn.report.page import page
from tests.browser import DESKTOP, PHONE, too_wide, visit
from tests.report.samples import everything, five, sections_of, session

SIZES = pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
SMALLEST_TEXT = 10  # pixels on the screen

# Boxes of all that must not lie on each other, chart by chart: names of points, points, and the axes' values.
LABELS = """() => [...document.querySelectorAll(".chart")].filter(chart => chart.getBoundingClientRect().width)
    .map(chart => {
        const boxes = (what) => [...chart.querySelectorAll(what)].map(node => {
            const {left, top, right, bottom} = node.getBoundingClientRect();
            return {text: node.textContent, left, top, right, bottom};
        });
        const marks = [...chart.querySelectorAll(".point .halo")].map(node => node.getBoundingClientRect());
        return {labels: boxes("text.label, text.tick"), marks: marks.map(({left, top, right, bottom}) =>
            ({text: "", left, top, right, bottom})), whole: chart.getBoundingClientRect().toJSON(),
            texts: boxes("text")};
    })"""
TEXT = """() => [...document.querySelectorAll(".chart text")].map(node => node.getBoundingClientRect().height)
    .filter(height => height > 0)"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages by name: one of ten files, one with everything that can be in a page, one that is crowded."""
    folder = tmp_path_factory.mktemp("pages")
    results: dict[str, list[Session | Profile]] = {
        "ten": [session(five())], "everything": everything(),
        "crowded": [session(five(("litert", "onnxruntime"), (1, 2)))],
    }  # fmt: skip
    found = {}
    for name, each in results.items():
        (folder / f"{name}.html").write_text(page(sections_of(*each), name), "utf-8")
        found[name] = Path(folder / f"{name}.html").as_uri()
    return found


@SIZES
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ten", "everything"])
def test_the_page_fits_and_is_not_blank(browser, pages, name, size, dark) -> None:
    with visit(browser, pages[name], size, dark) as found:
        assert too_wide(found) == []
        assert found.evaluate("document.documentElement.scrollHeight") > 3000
        for taken in (found.screenshot(), found.locator(".chart:visible").first.screenshot()):
            colours = Image.open(io.BytesIO(taken)).convert("L").getcolors() or []
            assert len(colours) > 50
            assert (max(colours)[1] < 50) == dark  # type: ignore[operator]
        assert min(found.evaluate(TEXT)) >= SMALLEST_TEXT


@SIZES
@pytest.mark.parametrize("name", ["ten", "everything", "crowded"])
def test_names_in_charts_lie_on_nothing(browser, pages, name, size) -> None:
    with visit(browser, pages[name], size) as found:
        charts = found.evaluate(LABELS)
    assert len(charts) >= 12
    for chart in charts:
        for one, two in itertools.combinations(chart["labels"], 2):
            assert not _meet(one, two), (one["text"], two["text"])
        for label, mark in itertools.product(chart["labels"], chart["marks"]):
            assert not _meet(label, mark), label["text"]
        for text in chart["texts"]:
            assert chart["whole"]["left"] <= text["left"] and text["right"] <= chart["whole"]["right"], text["text"]


def test_a_phone_shows_rows_as_cards_and_charts_at_their_size(browser, pages) -> None:
    with visit(browser, pages["ten"], PHONE) as found:
        assert found.locator(".narrow:visible").count() == 2 and found.locator(".wide:visible").count() == 0
        card = found.locator("tbody tr").first.bounding_box()
        assert card is not None and card["width"] > 300 and card["height"] > 200
        label = found.evaluate("getComputedStyle(document.querySelector('.cards td'), '::before').content")
        assert label == '"runtime, threads, batch"'
        wide = found.locator(".narrow:visible svg").first.bounding_box()
        assert wide is not None and 0.9 < wide["width"] / 336 < 1.1
    with visit(browser, pages["ten"], DESKTOP) as found:
        assert found.locator(".narrow:visible").count() == 0 and found.locator(".wide:visible").count() == 2


def test_a_table_and_a_link_are_reached_by_keyboard_and_seen_to_be(browser, pages) -> None:
    with visit(browser, pages["everything"]) as found:
        reached = []
        for _ in range(6):
            found.keyboard.press("Tab")
            reached.append(found.evaluate("document.activeElement.tagName + ' ' + document.activeElement.className"))
            assert found.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached[:3] == ["A "] * 3 and "DIV scroll cards" in reached
        links = [each.bounding_box() for each in found.locator("nav a").all()]
        assert all(box is not None and box["height"] >= 40 for box in links)


def test_the_browser_tells_charts_to_those_who_do_not_see_them(browser, pages) -> None:
    with visit(browser, pages["ten"]) as found:
        named = found.get_by_role("img", name="Accuracy against latency", exact=True)
        assert named.count() == 1  # that of the other width is hidden
        assert found.get_by_role("table").count() == 2
        assert found.get_by_role("rowheader").count() == 10 + 4


def test_the_page_is_complete_without_scripts_and_on_paper(browser, pages) -> None:
    with visit(browser, pages["everything"], javascript=False) as found:
        assert found.locator("svg").count() > 30 and "INVALID" in found.inner_text("nav")
        paper = found.pdf(format="A4")
        assert paper.startswith(b"%PDF") and paper.count(b"/Type /Page\n") < 40
        found.emulate_media(media="print", color_scheme="dark")
        assert len(found.screenshot()) > 1000


def _meet(one: dict[str, float], two: dict[str, float]) -> bool:
    """Whether two boxes share more than half a pixel; a text's box is a little higher than its letters."""
    across = min(one["right"], two["right"]) - max(one["left"], two["left"])
    down = min(one["bottom"], two["bottom"]) - max(one["top"], two["top"])
    return across > 0.5 and down > 2
