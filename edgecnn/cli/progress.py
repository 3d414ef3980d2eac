"""What a long verb says on standard error: lines that stay, and, on a terminal, one that is written over."""

from __future__ import annotations

import shutil
import sys
from typing import Self

ERASE = "\r\x1b[2K"


class Progress:
    """Called with a line, writes it. As a context manager it leaves nothing half said on a terminal."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._on_terminal = self._stream.isatty()

    def __call__(self, line: str) -> None:
        print((ERASE if self._on_terminal else "") + line, file=self._stream, flush=True)

    def passing(self, line: str) -> None:
        """Write a line that the next one replaces on a terminal; elsewhere it is a line like any other."""
        if not self._on_terminal:
            self(line)
            return
        width = shutil.get_terminal_size().columns - 1
        print(ERASE + line[:width], end="", file=self._stream, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._on_terminal:
            print(ERASE, end="", file=self._stream, flush=True)


def can_write(characters: str) -> bool:
    """Whether standard output's encoding has these characters."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
