"""Colours of charts and pages, light and dark, and the style that charts share.

Charts name classes only, so that one SVG serves both. Text has a contrast of 4.5 or more on the ground, marks have 3
or more. The colours of series stay apart for people who see no red or no green, and each has a shape of its own.
"""

from __future__ import annotations

import re

LIGHT = {
    "ground": "#ffffff", "panel": "#f6f7f9", "text": "#15191f", "soft": "#525c69", "line": "#d5dae1", "axis": "#7b8694",
    "bad": "#b80f2a", "bad-ground": "#fdecee", "doubt": "#855000", "doubt-ground": "#fff4dc", "good": "#0b6b3a",
    "good-ground": "#e4f6ec", "link": "#0b57c2",
    "s0": "#0b62c4", "s1": "#b4480a", "s2": "#00705c", "s3": "#8433a6", "s4": "#515b68", "s5": "#7a5c00",
}  # fmt: skip
DARK = {
    "ground": "#12161c", "panel": "#1a2029", "text": "#edf0f4", "soft": "#a9b3c0", "line": "#303945", "axis": "#7d8998",
    "bad": "#ff8593", "bad-ground": "#3a151b", "doubt": "#f3bd5d", "doubt-ground": "#33270d", "good": "#6fd79b",
    "good-ground": "#10301f", "link": "#84b8ff",
    "s0": "#6cb0ff", "s1": "#ff9f66", "s2": "#4fd1b0", "s3": "#dd7fd0", "s4": "#b3bdc9", "s5": "#e3c44f",
}  # fmt: skip
SERIES = 6  # colours s0 to s5

FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
STYLE = f"""
.chart text {{ font-family: {FAMILY}; font-size: 12px; fill: var(--text); }}
.chart .title {{ font-size: 15px; font-weight: 600; }}
.chart .soft {{ fill: var(--soft); }}
.chart .small {{ font-size: 11px; }}
.chart .label {{ paint-order: stroke; stroke: var(--ground); stroke-width: 3px; stroke-linejoin: round; }}
.chart .dots {{ fill: none; stroke-width: 5; stroke-linecap: round; }}
.chart .inner {{ fill: var(--ground); }}
.chart .grid {{ stroke: var(--line); stroke-width: 1; fill: none; }}
.chart .axis {{ stroke: var(--axis); stroke-width: 1; fill: none; }}
.chart .leader {{ stroke: var(--axis); stroke-width: 1; fill: none; }}
.chart .frontier {{ stroke: var(--text); stroke-width: 1.5; stroke-dasharray: 5 4; fill: none; }}
.chart .ring {{ stroke: var(--text); stroke-width: 1.5; fill: none; }}
.chart .halo {{ stroke: var(--ground); stroke-width: 1.5; }}
.chart .interval {{ stroke-width: 1.5; stroke-opacity: 0.55; fill: none; }}
.chart .area {{ fill-opacity: 0.28; stroke-width: 1.25; }}
.chart .curve {{ fill: none; stroke-width: 2; }}
.chart .mark {{ stroke: var(--text); stroke-width: 1.5; fill: none; }}
.chart .cross {{ stroke: var(--bad); stroke-width: 1.75; fill: none; }}
.chart .bad-frame {{ stroke: var(--bad); stroke-width: 2; fill: none; }}
.chart .bad-ground {{ fill: var(--bad-ground); }}
.chart .label.bad {{ fill: var(--bad); }}
.chart .stamp {{ font-size: 13px; font-weight: 700; fill: var(--bad); }}
""" + "".join(
    f".chart .fill{number} {{ fill: var(--s{number}); }}\n.chart .line{number} {{ stroke: var(--s{number}); }}\n"
    for number in range(SERIES)
)


def variables(palette: dict[str, str]) -> str:
    """The palette as CSS declarations."""
    return " ".join(f"--{name}: {value};" for name, value in palette.items())


def fixed_style(palette: dict[str, str], family: str) -> str:
    """The style with the palette's colours and a font family put in, for programs that know no CSS variables."""
    return re.sub(r"var\(--([\w-]+)\)", lambda match: palette[match[1]], STYLE.replace(FAMILY, family))


def contrast(first: str, second: str) -> float:
    """Contrast of two colours ``#rrggbb``, 1 to 21, as WCAG 2 counts it."""
    one, two = sorted((_luminance(first), _luminance(second)))
    return (two + 0.05) / (one + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
