"""The README's table, from committed results: ``python -m benchmarks.readme [--write | --machine MACHINE]``.

It stands between two comments, the first of which names the machine: ``<!-- results: MACHINE -->`` and
``<!-- end of results -->``. Without ``--write`` the table is printed and nothing changed; ``--machine`` prints that of
another machine.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from benchmarks.peers import NAME
from benchmarks.suite import ACCURACY, BENCH, RESULTS
from benchmarks.summary import Row, change
from edgecnn.errors import BadFileError, EdgeCNNError
from edgecnn.measure.figures import figures
from edgecnn.measure.machine import FEATURES
from edgecnn.measure.measurement import Measurement, Session
from edgecnn.measure.trust import SPREAD_LIMIT
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.report.numbers import percent
from edgecnn.report.table import markdown_table
from edgecnn.runtime.files import write_bytes
from edgecnn.runtime.records import decode, read_json

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"(?<=<!-- results: )([a-z0-9-]+)( -->\n)(.*?)(?=<!-- end of results -->)", re.DOTALL)
LIMIT = 1 << 20
UNSURE = "\\*"  # after a time whose runs differ too much; a bare * would be Markdown
HEADERS = (
    "model", "float32", "static_w8a8", "change, points (95 %)", "bytes float32", "bytes static_w8a8", "ratio",
    "us float32", "us static_w8a8", "ratio of times",
)  # fmt: skip


def updated(text: str, results: Path = RESULTS) -> str:
    """The README with its block made anew. Raises BadFileError when the block or its results are not there."""
    match = BLOCK.search(text)
    if match is None:
        raise BadFileError("the README has no block '<!-- results: MACHINE -->' ... '<!-- end of results -->'")
    return text[: match.start()] + match[1] + match[2] + block(results / match[1]) + text[match.end() :]


def block(folder: Path) -> str:
    """The table of one machine's results, and what is to be known of it."""
    session = Session.load(folder / BENCH)
    path = folder / ACCURACY
    found: tuple[Row, ...] = decode(tuple[Row, ...], read_json(path, LIMIT))
    rows = tuple(row for row in found if row.recipe == STATIC_W8A8.name)
    cells = [_cells(row, session, folder) for row in rows]
    shown = markdown_table(HEADERS, cells, "l".ljust(len(HEADERS), "r"))
    unsure = UNSURE in shown
    return "\n".join(["", shown, "", _words(rows, session, unsure), "", ""])


def _cells(row: Row, session: Session, folder: Path) -> list[str]:
    plain, small = files = [_find(session, row.model, recipe, folder) for recipe in (FLOAT32.name, row.recipe)]
    times = [figures(each).p50 for each in files]
    shown = [
        f"{time:.1f}{UNSURE if {*each.verdict.reasons} - {*session.verdict.reasons} else ''}"
        for time, each in zip(times, files, strict=True)
    ]
    return [
        "MLPerf Tiny's ResNet-8" if row.model == NAME else f"`{row.model}`", percent(row.float_accuracy),
        percent(row.quantized_accuracy), change(row), f"{plain.case.bytes:,}", f"{small.case.bytes:,}",
        f"{small.case.bytes / plain.case.bytes:.3f}", *shown, f"{times[1] / times[0]:.2f}",
    ]  # fmt: skip


def _find(session: Session, model: str, recipe: str, folder: Path) -> Measurement:
    """The TFLite file of a model on LiteRT, one thread, one image."""
    wanted = (model, recipe, "litert", 1, 1)
    for row in session.measurements:
        case = row.case
        if (case.model, case.recipe, case.runtime, case.threads, case.batch) == wanted and row.runs:
            return row
    raise BadFileError(f"{folder / BENCH} has no run of {model} {recipe} on litert; run benchmarks.suite again")


def _words(rows: tuple[Row, ...], session: Session, unsure: bool) -> str:
    machine = session.machine
    known = ", ".join(name for name in FEATURES if name in machine.features) or "no int8 instructions"
    engines = sorted({row.engine for row in session.measurements if row.engine and row.case.runtime == "litert"})
    doubts = f" The machine was {session.verdict.level}: {'; '.join(session.verdict.reasons)}."
    mark = f" {UNSURE} runs of this file differ by more than {SPREAD_LIMIT:.0%}."
    text = (
        f"Accuracy on all {rows[0].images:,} test images of {rows[0].data}, change with its 95 % interval (paired), "
        f"median microseconds per image on one thread of {machine.board or machine.cpu} ({known}) with "
        f"{', '.join(engines)}, all files timed by turns. `python -m benchmarks.suite` measures; "
        f"`python -m benchmarks.readme --write` makes this table from the committed results."
        f"{doubts if session.verdict.reasons else ''}"
        f"{mark if unsure else ''}"
    )
    return textwrap.fill(text, 120, break_on_hyphens=False)


def main(words: list[str] | None = None) -> int:
    """Print the block, or write it into the README; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description="The README's table.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--file", type=Path, default=README)
    machines = sorted(path.parent.name for path in RESULTS.glob(f"*/{BENCH}"))
    parser.add_argument(
        "--machine", choices=machines, metavar="MACHINE", help=f"print the table of {', '.join(machines)}"
    )
    options = parser.parse_args(words)
    try:
        if options.machine:
            print(block(RESULTS / options.machine).strip())
            return 0
        text = updated(options.file.read_text("utf-8"))
    except EdgeCNNError as error:
        print(f"readme: error: {error}", file=sys.stderr)
        return error.exit_code
    if options.write:
        write_bytes(options.file, text.encode())
    else:
        match = BLOCK.search(text)
        assert match is not None  # or there was an error
        print(match[3].strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
