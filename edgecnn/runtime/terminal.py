"""Texts of others on a terminal: what it would obey, or cannot show, becomes a question mark."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text as part of one line: its line breaks and tabs, too, are question marks."""
    if text.isprintable():  # as most is, and all of a file's pieces, which are long
        return text
    return "".join(each if each.isprintable() else "?" for each in text)


def printable_lines(text: str) -> str:
    """The text, whose lines, ended by a line feed with or without a carriage return, and tabs stay."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(printable(cell) for cell in line.split("\t")) for line in lines)
