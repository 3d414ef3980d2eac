"""HTML and SVG as text: what comes from outside is escaped, and only what is built here is not."""

from __future__ import annotations

import html
import re

# Characters that XML does not allow, halves of pairs that UTF-8 does not, and those that turn the direction of text.
_UNFIT = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_WITHOUT_END = {"meta", "link", "br"}


class Markup(str):
    """Text that is markup already, and is not escaped again."""


def clean(text: str) -> str:
    """The text with every character that a page must not hold as the replacement character."""
    return _UNFIT.sub("\ufffd", text)


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """One element. A child that is not Markup is escaped, and so is every attribute; None leaves an attribute out.

    ``class_`` is written as class, ``data_label`` as data-label; numbers are rounded to hundredths.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            shown = value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
            words.append(f'{key.rstrip("_").replace("_", "-")}="{html.escape(clean(shown))}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if name in _WITHOUT_END else f"{start}{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """The children one after another, each escaped unless it is Markup."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(clean(child)) for child in children))
