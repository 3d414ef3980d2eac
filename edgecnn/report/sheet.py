"""What every page has around it: a document that may load and run nothing, in its own style."""

from __future__ import annotations

from importlib.resources import files

from edgecnn.report.charts.frame import NARROW, WIDE
from edgecnn.report.charts.theme import DARK, LIGHT, STYLE, variables
from edgecnn.report.markup import Markup, join, tag
from edgecnn.report.plots import Group

# Nothing may be loaded or run; only the page's own style and colours given to single elements.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def sheet(title: str, *children: str) -> str:
    """The HTML document with the children in its one column."""
    head = tag(
        "head", tag("meta", charset="utf-8"), tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"), tag("meta", name="referrer", content="no-referrer"),
        tag("title", title), tag("style", Markup(_style())),
    )  # fmt: skip
    body = tag("body", tag("main", *children, class_="page"))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def plotted(group: Group) -> Markup:
    """The plots of a group below its heading, large ones at both widths, of which the window shows one."""
    small = all(plot.small for plot in group.plots)
    drawn = []
    for plot in group.plots:
        if plot.small:
            drawn.append(tag("figure", plot.draw(NARROW)))
        else:
            wide, narrow = tag("div", plot.draw(WIDE), class_="wide"), tag("div", plot.draw(NARROW), class_="narrow")
            drawn.append(tag("figure", wide, narrow))
    plots = tag("div", *drawn, class_="plots small" if small else "plots")
    return join(tag("h3", group.heading), tag("p", group.note, class_="note"), plots)


def _style() -> str:
    light, dark = variables(LIGHT), variables(DARK)
    colours = f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    return colours + STYLE + (files("edgecnn.report") / "page.css").read_text("utf-8")
