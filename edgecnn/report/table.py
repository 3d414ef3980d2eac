"""Plain text tables: pure formatting, no measuring and no printing."""

from __future__ import annotations

from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Aligned text: the headers, a rule, and one line per row, columns two spaces apart, no newline at the end.

    ``align`` has a letter per column, ``l`` or ``r``; columns it does not reach are left-aligned. A line break
    within a cell becomes a space. Raises ValueError if a row has not as many cells as there are headers, or
    ``align`` holds another letter or more letters than columns.
    """
    if len(align) > len(headers) or set(align) - set("lr"):
        raise ValueError(f"align {align!r} must have at most {len(headers)} letters, each 'l' or 'r'")
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row has {len(row)} cells under {len(headers)} headers: {list(row)}")
    lines = [[" ".join(cell.splitlines()) for cell in row] for row in (headers, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    sides = align.ljust(len(headers), "l")
    return "\n".join(
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(line, widths, sides, strict=True)
        ).rstrip()
        for line in lines
    )
