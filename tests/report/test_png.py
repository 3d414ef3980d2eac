"""PNG files: every plot, with its text, from the same SVG as the page."""

from __future__ import annotations

import io
from functools import partial

import pytest
import resvg_py
from PIL import Image

from edgecnn.errors import MissingExtraError
from edgecnn.report import png
from edgecnn.report.charts.frame import WIDE, Heading, chart
from edgecnn.report.markup import tag
from edgecnn.report.plots import Group, Plot
from tests.report.samples import OTHER, five, row, sections_of, session, sustained

svg_to_bytes = resvg_py.svg_to_bytes


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_every_plot_is_a_picture_of_its_size() -> None:
    found = png.pictures(sections_of(session([*five()[:2], row("hot", sustained=sustained())])))
    assert sorted(found) == [
        "accuracy-bytes.png", "accuracy-latency.png", "distribution-1.png", "distribution-2.png", "distribution-3.png",
        "sustained-3.png",
    ]  # fmt: skip
    for content in found.values():
        picture = opened(content)
        assert picture.width == WIDE * png.ZOOM
        assert len(picture.getcolors(1 << 20) or []) > 50


def test_two_machines_have_files_of_their_own() -> None:
    found = png.pictures(sections_of(session([row()]), session([row()], OTHER)))
    assert sorted(found)[::3] == ["machine-1-accuracy-bytes.png", "machine-2-accuracy-bytes.png"]


def drawn(text: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A picture with this text, on a machine without a single font."""
    monkeypatch.setattr(resvg_py, "svg_to_bytes", partial(svg_to_bytes, skip_system_fonts=True))
    svg = chart(Heading("", "", ""), 100, 40, tag("text", text, x=10, y=30))
    monkeypatch.setattr(png, "groups", lambda section: [Group("", "", (Plot("plot", lambda width: svg),))])
    return png.pictures(sections_of(session([row()])))["plot.png"]


@pytest.mark.parametrize("text", ["lenet", "static_w8a8", "10 %", "10 °", "a…", "1 ›", "#"])
def test_every_letter_that_charts_use_is_drawn(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of each text."""
    assert drawn(text, monkeypatch) != drawn(text[:-1], monkeypatch)


def test_the_micro_sign_is_a_letter_that_the_font_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn("5 µs", monkeypatch) == drawn("5 us", monkeypatch)


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--png needs the package 'resvg_py'.*pip install 'edgecnn\[plots\]'"):
        png.pictures([])
