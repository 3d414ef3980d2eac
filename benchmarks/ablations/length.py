"""Where training saturates: ``python -m benchmarks.ablations.length [--measure] [--teacher FILE]``.

Shows the committed results, or makes them: trains with schedules of different lengths below ``--runs``, without and,
given its weights, with a teacher whose answers are kept, and scores each on the tenth of the training images that is
held out. No test image is looked at. Runs that have ended are scored again and not repeated, interrupted ones go on.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.ablations.held_out import learned, spread
from benchmarks.committed import Results, Row
from edgecnn.data.augment import Augmentation
from edgecnn.report.table import table
from edgecnn.train import TrainRecipe
from edgecnn.train.recipe import OPTIMIZERS, suited

EPOCHS = (5, 10, 20, 40, 80)
START = TrainRecipe(label_smoothing=0.0, augmentation=Augmentation(shift=2), compile=True)
TAUGHT: dict[str, Any] = {"distillation": 0.9, "views": 8}
HEADERS = (
    "model", "optimizer", "teacher", "epochs", "precision", "seeds", "held out, %: mean (lowest to highest)",
    "beyond half as many epochs", "as trained on",
)  # fmt: skip


def run(model: str, optimizer: str, epochs: int, seed: int, precision: str, weights: Path | None, folder: Path) -> Row:
    """Train one schedule below ``folder``, or go on with it; ``weights`` are the teacher's, if it has one."""
    taught = {} if weights is None else TAUGHT
    recipe = replace(START, **suited(optimizer), epochs=epochs, seed=seed, precision=precision, **taught)
    how = {"optimizer": optimizer, "precision": precision}
    return how | learned(model, recipe, weights, folder, optimizer, str(epochs))


def text(rows: Sequence[Row]) -> str:
    """A line for each model, optimizer, teacher and length; changes are from the same seeds."""
    found = {(*way(row), row["epochs"], row["seed"]): 100 * row["accuracy"] for row in rows}
    cells = []
    for *how, epochs in sorted({key[:4] for key in found}):
        mine = [row for row in rows if [*way(row), row["epochs"]] == [*how, epochs]]
        seeds = sorted(row["seed"] for row in mine)
        halves = [found.get((*how, epochs // 2, seed)) for seed in seeds]
        changes = [
            found[*how, epochs, seed] - half for seed, half in zip(seeds, halves, strict=True) if half is not None
        ]
        cells.append((
            *how, str(epochs), ", ".join(sorted({row["precision"] for row in mine})), str(len(mine)),
            spread([100 * row["accuracy"] for row in mine]),
            spread(changes, "+") if changes else "-",
            f"{100 * statistics.mean(row['train_accuracy'] for row in mine):.1f} %",
        ))  # fmt: skip
    return table(HEADERS, cells, "lllrlrrrr")


def way(row: Row) -> tuple[str, str, str]:
    """What trainings of different lengths have in common: model, optimizer, teacher."""
    return row["model"], row["optimizer"], row["teacher"]


RESULTS = Results("ablations_length.json", ("model", "optimizer", "teacher", "epochs", "seed"), text)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations.length", description="Lengths of training.")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", default=Path("runs/ablations-length"))
    parser.add_argument("--model", nargs="+", default=["mod_cnn"])
    parser.add_argument("--optimizer", nargs="+", default=["muon", "sgd"], choices=OPTIMIZERS)
    parser.add_argument("--epochs", nargs="+", type=int, default=list(EPOCHS))
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--precision", default="bfloat16", help="float32 is faster where the processor has no bfloat16")
    parser.add_argument("--teacher", type=Path, metavar="FILE", dest="weights", help="weights to learn from")

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        if options.weights is None:
            print("trainings with a teacher are left out, since there is no --teacher", file=sys.stderr)
        teachers = [None] if options.weights is None else [None, options.weights]
        # The shortest first, so that an interrupted evening has something to show.
        for seed, epochs, model, optimizer, weights in itertools.product(
            options.seed, sorted(options.epochs), options.model, options.optimizer, teachers
        ):
            taught = "no" if weights is None else "a"
            print(f"{model}, {optimizer}, {epochs} epochs, seed {seed}, {taught} teacher", file=sys.stderr)
            yield run(model, optimizer, epochs, seed, options.precision, weights, options.runs)

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
