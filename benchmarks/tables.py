"""The tables of benchmarks/README.md, each what a command prints: ``python -m benchmarks.tables [--write]``.

A table stands between ``<!-- python -m benchmarks.NAME WORDS -->`` and ``<!-- end -->``. The commands named there print
committed results and measure nothing. Without ``--write`` the page is printed and nothing changed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import sys
from pathlib import Path

from edgecnn.errors import CheckFailedError, EdgeCNNError
from edgecnn.runtime.files import write_bytes

PAGE = Path(__file__).parent / "README.md"
BLOCK = re.compile(r"(?<=<!-- python -m )(benchmarks\.[\w.]+)( [^\n]*)?( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)


def updated(text: str) -> str:
    """The page with every table made anew. Raises CheckFailedError for a command that fails."""
    return BLOCK.sub(lambda match: f"{match[1]}{match[2] or ''}{match[3]}\n{_shown(_printed(match))}\n\n", text)


def _shown(printed: str) -> str:
    """What is a table in Markdown stays one, other text is shown as it is."""
    return printed if printed.startswith("|") else f"```\n{printed}\n```"


def _printed(match: re.Match[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = importlib.import_module(match[1]).main((match[2] or "").split())
    if code:
        raise CheckFailedError(f"python -m {match[1]}{match[2] or ''} failed with exit code {code}")
    return "\n".join(line.rstrip() for line in said.getvalue().strip("\n").splitlines())


def main(words: list[str] | None = None) -> int:
    """Print the page, or write it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description="The tables of a page.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--file", type=Path, default=PAGE)
    options = parser.parse_args(words)
    try:
        text = updated(options.file.read_text("utf-8"))
    except EdgeCNNError as error:
        print(f"tables: error: {error}", file=sys.stderr)
        return error.exit_code
    if options.write:
        write_bytes(options.file, text.encode())
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
