"""Plots as PNG files, by resvg; the font is the one that Pillow carries, so a machine needs none."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from edgecnn.errors import MissingExtraError, UsageError
from edgecnn.report.charts.frame import WIDE
from edgecnn.report.charts.theme import LIGHT, fixed_style
from edgecnn.report.markup import Markup
from edgecnn.report.plots import groups
from edgecnn.report.sections import Section

ZOOM = 2.0
FAMILY = "Aileron, sans-serif"  # Pillow's; the second has the letters it lacks, where the system has any


def check() -> None:
    """Raise MissingExtraError if PNG files cannot be made here."""
    if find_spec("resvg_py") is None:
        raise MissingExtraError("--png", "resvg_py", "plots")


def pictures(sections: Sequence[Section]) -> dict[str, bytes]:
    """Every plot of the sections as PNG, by file name. Raises MissingExtraError."""
    check()
    drawn = {}
    for number, section in enumerate(sections, 1):
        machine = f"machine-{number}-" if len(sections) > 1 else ""
        for group in groups(section):
            drawn.update({f"{machine}{plot.name}.png": plot.draw(WIDE) for plot in group.plots})
    with tempfile.TemporaryDirectory() as folder:
        font = Path(folder) / "font.ttf"
        font.write_bytes(_font())
        return {name: _png(svg, font) for name, svg in drawn.items()}


def _png(svg: Markup, font: Path) -> bytes:
    import resvg_py

    # Pillow's font has no micro sign, and "us" is how edgecnn's text tables write it.
    return resvg_py.svg_to_bytes(
        svg_string=svg.replace("µs", "us"), background=LIGHT["ground"], zoom=ZOOM,
        style_sheet=fixed_style(LIGHT, FAMILY), font_files=[str(font)],
    )  # fmt: skip


def _font() -> bytes:
    """The bytes of the font that Pillow carries, of Latin letters; a Pillow built without FreeType has none."""
    font = ImageFont.load_default(12)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise UsageError(
            "--png needs a Pillow with FreeType, as in its wheels; run: pip install --force-reinstall pillow"
        )
    return font.font_bytes
