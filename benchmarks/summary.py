"""What quantization costs: ``python -m benchmarks.summary [--data cifar10] [--record] [--json]``.

Scores the float32 and the static_w8a8 TFLite file of every model on all test images. ``--record`` writes the accuracy
of static_w8a8 into the headers of the shipped weights, where ``edgecnn models`` finds it.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bundles import bundle, default_cache
from edgecnn import checkpoint, models
from edgecnn.data.dataset import DataSet, batches
from edgecnn.data.registry import load
from edgecnn.errors import EdgeCNNError, UsageError
from edgecnn.measure.accuracy import score_together
from edgecnn.measure.comparison import Comparison
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, Recipe
from edgecnn.report.numbers import percent
from edgecnn.report.table import table
from edgecnn.runtime.bundle import open_bundle

BATCH = 250
RECORDED = "static_w8a8_accuracy"  # in the headers of weights
HEADERS = ("model", "images", FLOAT32.name, STATIC_W8A8.name, "change, points (95 %)", "agreement")


@dataclass(frozen=True)
class Row:
    """One model: accuracies and agreement as shares 0 to 1, the change and its paired 95 % interval in points.

    What is quantized is quantized by ``recipe``.
    """

    model: str
    data: str
    images: int
    float_accuracy: float
    quantized_accuracy: float
    change: float
    change_interval: tuple[float, ...]
    agreement: float
    recipe: str


def score(folder: Path, data: DataSet, recipe: Recipe = STATIC_W8A8) -> Row:
    """Score the float32 and the quantized TFLite file of a bundle on all test images.

    Raises UsageError for classes of another order.
    """
    opened = open_bundle(folder)
    if opened.labels != data.classes:
        known, there = ", ".join(opened.labels), ", ".join(data.classes)
        raise UsageError(f"{folder} knows the classes {known}, but {data.name} has {there}")
    with ExitStack() as stack:
        names = (FLOAT32.name, recipe.name)
        runners = {name: stack.enter_context(opened.open(opened.artifact(name))) for name in names}
        scores = score_together(runners, batches(data.test, BATCH))
    both = Comparison(*(scores[name] for name in names))
    return Row(
        opened.manifest.model.name, data.name, both.images, both.first.accuracy, both.second.accuracy, both.change,
        tuple(both.interval), both.agreement, recipe.name,
    )  # fmt: skip


def change(row: Row) -> str:
    """The change and its interval, for a table."""
    low, high = row.change_interval
    return f"{row.change:+.2f} ({low:+.2f} to {high:+.2f})"


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description="Float against static_w8a8.")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    try:
        data = load(options.data)
        folders = [bundle(model, data.name, options.cache) for model in models.names()]
        rows = [score(folder, data) for folder in folders]
    except EdgeCNNError as error:
        print(f"summary: error: {error}", file=sys.stderr)
        return error.exit_code
    for row in rows if options.record else ():
        path = checkpoint.shipped(row.model, row.data)
        assert path is not None  # or it could not have been quantized
        checkpoint.annotate(path, {RECORDED: row.quantized_accuracy})
    cells = [
        (row.model, f"{row.images:,}", percent(row.float_accuracy), percent(row.quantized_accuracy), change(row),
         percent(row.agreement))
        for row in rows
    ]  # fmt: skip
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else table(HEADERS, cells, "lrrrrr"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
