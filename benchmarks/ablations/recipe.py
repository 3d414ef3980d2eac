"""What each part of a training recipe brings: ``python -m benchmarks.ablations.recipe [--measure] [--teacher FILE]``.

Shows the committed results, or makes them: trains each variant with each seed below ``--runs``, in short schedules, and
scores it on the tenth of the training images that is held out. No test image is looked at. Runs that have ended are
scored again and not repeated, interrupted ones go on. Variants with a teacher need the weights of one.
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

from benchmarks.ablations.held_out import SEEDS, learned, spread
from benchmarks.committed import Results, Row
from edgecnn.data.augment import Augmentation
from edgecnn.report.table import table
from edgecnn.train import TrainRecipe
from edgecnn.train.recipe import suited

PLAIN = Augmentation(shift=2)
START = TrainRecipe(
    epochs=12, **suited("sgd"), label_smoothing=0.0, augmentation=PLAIN, precision="bfloat16", compile=True
)
AS_IT_IS = "as it is"
VARIANTS: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    "cutout 8": {"augmentation": replace(PLAIN, cutout=8)},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "no averaging": {"average": 0.0},
    "AdamW": suited("adamw"),
    "Muon": suited("muon"),
    "teacher": {"distillation": 0.5},
}
GONE = ("mixup 0.2", "cutmix 1", "1 operation")  # measured at commit 7975def, and taken out for what that showed
ORDER = (*VARIANTS, *GONE)
HEADERS = (
    "model", "variant", "teacher", "epochs", "seeds", "held out, %: mean (lowest to highest)",
    "change, points: mean (lowest to highest)", "as trained on",
)  # fmt: skip


def run(model: str, variant: str, seed: int, weights: Path | None, folder: Path) -> Row:
    """Train one variant below ``folder``, or go on with it; ``weights`` are the teacher's, if it has one."""
    recipe = replace(START, seed=seed, **VARIANTS[variant])
    return {"variant": variant} | learned(model, recipe, weights, folder, *variant.split())


def text(rows: Sequence[Row]) -> str:
    """A line for each model, variant and teacher; changes are from the same seeds of the variant 'as it is'."""
    cells = []
    start = {(row["model"], row["seed"]): row["accuracy"] for row in rows if row["variant"] == AS_IT_IS}
    ordered = sorted(rows, key=lambda row: (row["model"], ORDER.index(row["variant"]), row["teacher"]))
    for key in dict.fromkeys((row["model"], row["variant"], row["teacher"]) for row in ordered):
        mine = [row for row in ordered if (row["model"], row["variant"], row["teacher"]) == key]
        found = [100 * row["accuracy"] for row in mine]
        pairs = [100 * (row["accuracy"] - start[row["model"], row["seed"]]) for row in mine if _known(row, start)]
        cells.append((
            *key, str(mine[0]["epochs"]), str(len(mine)), spread(found), spread(pairs, "+") if pairs else "-",
            f"{100 * statistics.mean(row['train_accuracy'] for row in mine):.1f} %",
        ))  # fmt: skip
    return table(HEADERS, cells, "lllrrrrr")


def _known(row: Row, start: dict[tuple[str, int], float]) -> bool:
    return (row["model"], row["seed"]) in start


RESULTS = Results("ablations_recipe.json", ("model", "variant", "teacher", "seed"), text)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations.recipe", description="Variants of training.")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", default=Path("runs/ablations-recipe"))
    parser.add_argument("--model", nargs="+", default=["mod_cnn"])
    parser.add_argument("--variant", nargs="+", default=ORDER, choices=VARIANTS)
    parser.add_argument("--seed", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--teacher", type=Path, metavar="FILE", dest="weights", help="weights to learn from")

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        variants = [each for each in options.variant if each not in GONE]
        for model, seed, variant in itertools.product(options.model, options.seed, variants):
            taught = "distillation" in VARIANTS[variant]
            if taught and options.weights is None:
                print(f"{model}, {variant}, seed {seed}: left out, since there is no --teacher", file=sys.stderr)
            else:
                print(f"{model}, {variant}, seed {seed}", file=sys.stderr)
                yield run(model, variant, seed, options.weights if taught else None, options.runs)

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
