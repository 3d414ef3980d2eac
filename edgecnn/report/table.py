"""Tables as plain text and as Markdown: pure formatting, no measuring and no printing."""

from __future__ import annotations

from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Aligned text: the headers, a rule, and one line per row, columns two spaces apart, no newline at the end.

    ``align`` has a letter per column, ``l`` or ``r``; columns it does not reach are left-aligned. A line break
    within a cell becomes a space. Raises ValueError if a row has not as many cells as there are headers, or
    ``align`` holds another letter or more letters than columns.
    """
    sides = _sides(headers, rows, align)
    lines = [list(map(one_line, row)) for row in (headers, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        ).rstrip()
        for line in lines
    )


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """The same in Markdown. Cells stand as they are given: what is not to be read as markup is escaped by the caller.

    Raises ValueError as ``table`` does.
    """
    sides = _sides(headers, rows, align)
    rule = "|".join("---:" if side == "r" else "---" for side in sides)
    return "\n".join([_line(headers), f"|{rule}|", *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(one_line, cells))} |"


def one_line(text: str) -> str:
    """The text, which may come from a result file, without a line break that would make it look like two."""
    return " ".join(text.splitlines())


def _sides(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A letter for each column; raises ValueError where headers, rows and letters do not fit."""
    if len(align) > len(headers) or set(align) - set("lr"):
        raise ValueError(f"align {align!r} must have at most {len(headers)} letters, each 'l' or 'r'")
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row has {len(row)} cells under {len(headers)} headers: {list(row)}")
    return align.ljust(len(headers), "l")
