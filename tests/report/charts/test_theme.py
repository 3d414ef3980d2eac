"""Colours: readable in light and in dark, and told apart by those who see no red or no green."""

from __future__ import annotations

import itertools
import re

import pytest

from edgecnn.report.charts.theme import DARK, LIGHT, SERIES, STYLE, contrast, fixed_style

PALETTES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
# What is left of red, green and blue light without one kind of cone (H. Brettel, F. Viénot and J. Mollon 1997, in the
# single-plane form of G. Machado, M. Oliveira and L. Fernandes 2009), on linear light.
BLINDNESS = {
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


@PALETTES
def test_text_has_enough_contrast(palette: dict[str, str]) -> None:
    for ground in ("ground", "panel"):
        for name in ("text", "soft", "bad", "doubt", "good", "link", *(f"s{number}" for number in range(SERIES))):
            assert contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
    for name in ("bad", "doubt", "good"):
        assert contrast(palette[name], palette[f"{name}-ground"]) >= 4.5, name
        assert contrast(palette["text"], palette[f"{name}-ground"]) >= 4.5, name
    assert contrast(palette["axis"], palette["ground"]) >= 3


@PALETTES
@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_first_four_series_differ_for_the_colour_blind(palette: dict[str, str], kind: str) -> None:
    seen = [_seen(palette[f"s{number}"], BLINDNESS[kind]) for number in range(4)]
    for one, two in itertools.combinations(seen, 2):
        assert sum((first - second) ** 2 for first, second in zip(one, two, strict=True)) ** 0.5 > 0.12, (one, two)


def test_both_palettes_have_every_colour_and_every_colour_is_known() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) <= LIGHT.keys()
    assert "var(" not in fixed_style(LIGHT, "serif")


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def _seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> list[float]:
    linear = [(int(colour[place : place + 2], 16) / 255) ** 2.2 for place in (1, 3, 5)]
    kept = [sum(share * light for share, light in zip(row, linear, strict=True)) for row in matrix]
    return [max(light, 0) ** (1 / 2.2) for light in kept]
