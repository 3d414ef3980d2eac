"""What ``quantize --mirrored`` brings and costs: ``python -m benchmarks.mirrored_files [--model NAME...] [--measure]``.

Shows the committed results, or makes them: static_w8a8 and static_w4a8 TFLite files of the shipped weights, as they are
and looking at each image and its mirror image, scored on all test images and timed by turns on one thread of LiteRT.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bundles import FORMATS, bundle, default_cache
from benchmarks.committed import Results, Row
from benchmarks.mirrored import counts, shares
from benchmarks.passes import time_files
from benchmarks.summary import BATCH
from edgecnn.data import registry
from edgecnn.data.dataset import DataSet, batches
from edgecnn.measure.accuracy import score_together
from edgecnn.measure.comparison import Comparison
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8, Recipe
from edgecnn.report.table import table
from edgecnn.runtime.bundle import open_bundle

RUNS = 5
RECIPES = {STATIC_W8A8: FORMATS, STATIC_W4A8: ("tflite",)}  # and the formats that the bundles of other scripts have
HEADERS = (
    "model", "recipe", "images", "as it is", "mirrored", "change, points (95 % interval)", "bytes", "mirrored", "time",
)  # fmt: skip


def measure(model: str, data: str) -> Iterator[Row]:
    """A row for each of RECIPES: test ``images``, how many are ``right`` and how many ``mirrored``, ``gained`` and
    ``lost`` between them; ``bytes`` and ``us`` (median microseconds an image) of the two files.

    Raises CheckFailedError for a file that does not pass its gate or run, UntrustworthyError when the machine
    throttled.
    """
    dataset = registry.load(data)
    for recipe, formats in RECIPES.items():
        made = (
            bundle(model, data, default_cache(), formats, recipe),
            bundle(model, data, default_cache(), ("tflite",), recipe, mirrored=True),
        )
        yield {"model": model, "recipe": recipe.name, **_compared(made, recipe, dataset)}


def _compared(made: Sequence[Path], recipe: Recipe, dataset: DataSet) -> Row:
    opened = [open_bundle(folder) for folder in made]
    artifacts = [each.artifact(recipe.name) for each in opened]
    with ExitStack() as stack:
        runners = [stack.enter_context(each.open(file)) for each, file in zip(opened, artifacts, strict=True)]
        scores = score_together(dict(zip(("plain", "mirrored"), runners, strict=True)), batches(dataset.test, BATCH))
    files = [folder / file.file for folder, file in zip(made, artifacts, strict=True)]
    return {
        **counts(Comparison(scores["plain"], scores["mirrored"])), "bytes": [file.bytes for file in artifacts],
        "us": time_files(files, RUNS, amx_allowed=True),
    }  # fmt: skip


def text(rows: Sequence[Row]) -> str:
    """A line per network and recipe."""
    return table(HEADERS, [_cells(row) for row in rows], "llrrrrrrr")


def _cells(row: Row) -> tuple[str, ...]:
    plain, mirrored = row["us"]
    return (
        row["model"],
        row["recipe"],
        *shares(row),
        *(f"{each:,}" for each in row["bytes"]),
        f"{mirrored / plain:.2f} times",
    )


RESULTS = Results("mirrored_files.json", ("model", "recipe"), text)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    return RESULTS.main_by_model("Files that look at mirror images.", measure, words)


if __name__ == "__main__":
    sys.exit(main())
