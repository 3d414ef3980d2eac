"""Markup: nothing from outside becomes an element, an attribute or a control character."""

from __future__ import annotations

import pytest

from edgecnn.report.markup import Markup, join, tag
from tests.report.reading import Page

HARM = '</td><script>alert(\'1\')</script>" onload="x" &amp; \x00\x1b\u202e\udcff'


def test_children_and_attributes_are_escaped() -> None:
    made = tag("p", HARM, title=HARM)
    page = Page(made)
    assert [each.tag for each in page.elements] == ["p"]
    assert list(page.elements[0].attributes) == ["title"]
    assert page.elements[0].text == page.elements[0].attributes["title"]
    assert page.elements[0].text.startswith('</td><script>alert(\'1\')</script>" onload="x" &amp; ')
    made.encode()
    assert not set(made) & set("\x00\x1b\u202e\udcff")


def test_markup_is_put_in_as_it_is_and_only_markup() -> None:
    assert tag("p", tag("b", "a < b"), "<i>") == "<p><b>a &lt; b</b>&lt;i&gt;</p>"
    assert join(Markup("<br>"), "<br>") == "<br>&lt;br&gt;"


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ({"class_": "a"}, ' class="a"'), ({"data_label": "a"}, ' data-label="a"'), ({"x": 1.005}, ' x="1"'),
        ({"x": 12.345}, ' x="12.35"'), ({"x": 100}, ' x="100"'), ({"x": None}, ""), ({"viewBox": "0"}, ' viewBox="0"'),
    ],
)  # fmt: skip
def test_attributes(attributes: dict[str, str | float | None], written: str) -> None:
    assert tag("g", **attributes) == f"<g{written}></g>"
