"""What ``quantize --mirrored`` brings and costs: ``python -m benchmarks.mirrored_files [--model NAME...] [--measure]``.

Shows the committed results, or makes them: static_w8a8 TFLite files of the shipped weights, as they are and looking at
each image and its mirror image, scored on all test images and timed by turns on one thread of LiteRT.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks.bundles import bundle, default_cache
from benchmarks.committed import Results, Row
from benchmarks.mirrored import counts, shares
from benchmarks.passes import time_files
from benchmarks.summary import BATCH
from edgecnn.data import registry
from edgecnn.data.dataset import batches
from edgecnn.measure.accuracy import score_together
from edgecnn.measure.comparison import Comparison
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime.bundle import open_bundle

RUNS = 5
HEADERS = (
    "model", "images", "static_w8a8", "mirrored", "change, points (95 % interval)", "bytes", "mirrored", "time",
)  # fmt: skip


def measure(model: str, data: str) -> Iterator[Row]:
    """One row: test ``images``, how many are ``right`` and how many ``mirrored``, ``gained`` and ``lost`` between them;
    ``bytes`` and ``us`` (median microseconds an image) of the two files.

    Raises CheckFailedError for a file that does not pass its gate or run, UntrustworthyError when the machine
    throttled.
    """
    dataset = registry.load(data)
    cache = default_cache()
    made = (bundle(model, data, cache), bundle(model, data, cache, ("tflite",), mirrored=True))
    opened = [open_bundle(folder) for folder in made]
    artifacts = [each.artifact(STATIC_W8A8.name) for each in opened]
    with ExitStack() as stack:
        runners = [stack.enter_context(each.open(file)) for each, file in zip(opened, artifacts, strict=True)]
        scores = score_together(dict(zip(("plain", "mirrored"), runners, strict=True)), batches(dataset.test, BATCH))
    found = Comparison(scores["plain"], scores["mirrored"])
    files = [folder / file.file for folder, file in zip(made, artifacts, strict=True)]
    yield {
        "model": model, **counts(found), "bytes": [file.bytes for file in artifacts],
        "us": time_files(files, RUNS, amx_allowed=True),
    }  # fmt: skip


def text(rows: Sequence[Row]) -> str:
    """A line per network."""
    return table(HEADERS, [_cells(row) for row in rows], "lrrrrrrr")


def _cells(row: Row) -> tuple[str, ...]:
    plain, mirrored = row["us"]
    return row["model"], *shares(row), *(f"{each:,}" for each in row["bytes"]), f"{mirrored / plain:.2f} times"


RESULTS = Results("mirrored_files.json", ("model",), text)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    return RESULTS.main_by_model("Files that look at mirror images.", measure, words)


if __name__ == "__main__":
    sys.exit(main())
