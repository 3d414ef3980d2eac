"""A page as a test reads it: its elements and its text, by the parser of the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr"}


@dataclass
class Element:
    """One element; ``text`` is all that is in it."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    children: list[Element] = field(default_factory=list)


class Page(HTMLParser):
    """All elements of a document, in order. Raises AssertionError where an end tag does not fit."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.declared: list[str] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert not self._open, f"{self._open[-1].tag} has no end"

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of a name whose attributes are these; class_ is among its classes."""
        class_ = attributes.pop("class_", None)
        return [
            each for each in self.elements
            if each.tag == tag and attributes.items() <= each.attributes.items()
            and (class_ is None or class_ in (each.attributes.get("class") or "").split())
        ]  # fmt: skip

    def handle_decl(self, decl: str) -> None:
        self.declared.append(decl)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        if self._open:
            self._open[-1].children.append(element)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data
