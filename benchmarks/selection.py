"""Which training settings were tried before the shipped weights: ``python -m benchmarks.selection [RUN...]``.

Every RUN is the folder of an ``edgecnn train --validation 0.1`` run: trained on 45,000 of CIFAR-10's training images,
scored on the other 5,000; the test images are not touched. Given folders, prints their rows as JSON; without any,
prints the committed rows (benchmarks/results/selection.json) as a table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecnn import checkpoint
from edgecnn.errors import BadFileError, EdgeCNNError
from edgecnn.report.table import table
from edgecnn.train.recipe import OPTIMIZERS, completed

COMMITTED = Path(__file__).parent / "results" / "selection.json"
HEADERS = (
    "model",
    "epochs",
    "optimizer",
    "learning rate",
    "label smoothing",
    "shift",
    "precision",
    "besides",
    "validation accuracy",
)


def row(folder: Path) -> dict[str, Any]:
    """Model, settings and validation accuracy of one run. Raises BadFileError for one that held no images out."""
    header, _ = checkpoint.load(folder / "weights.safetensors")
    if "validation_accuracy" not in header.metrics:
        raise BadFileError(f"{folder} was trained without --validation, so nothing can be chosen by it; leave it out")
    recipe = header.recipe
    return {
        "model": header.model,
        "epochs": recipe["epochs"],
        "optimizer": recipe["optimizer"],
        "learning_rate": recipe["learning_rate"],
        "label_smoothing": recipe["label_smoothing"],
        "shift": recipe["augmentation"]["shift"],
        "precision": recipe["precision"],
        "besides": _besides(completed(recipe)),
        "validation_accuracy": header.metrics["validation_accuracy"],
        "validation_images": header.metrics["validation_images"],
        "command": header.command,
    }


def _besides(recipe: Mapping[str, Any]) -> str:
    """What else a run has of which the table has no column."""
    settings = {
        "teacher": recipe["distillation"], "views": recipe["views"], "mixup": recipe["mixing"]["mixup"],
        "cutout": recipe["augmentation"]["cutout"], "dropout": recipe["dropout"],
        "weight decay": recipe["weight_decay"],
    }  # fmt: skip
    usual = {"dropout": None, "weight decay": OPTIMIZERS[recipe["optimizer"]]["weight_decay"]}
    return ", ".join(f"{name} {value:g}" for name, value in settings.items() if value != usual.get(name, 0))


def main(words: list[str] | None = None) -> int:
    """Print rows as JSON, or the committed ones as a table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description="Settings that were tried.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    options = parser.parse_args(words)
    if options.runs:
        try:
            print(json.dumps([row(folder) for folder in options.runs], indent=2))
        except EdgeCNNError as error:
            print(f"selection: error: {error}", file=sys.stderr)
            return error.exit_code
        return 0
    cells = [
        (
            each["model"], str(each["epochs"]), each["optimizer"], f"{each['learning_rate']:g}",
            f"{each['label_smoothing']:g}",
            str(each["shift"]), each["precision"], each.get("besides", ""),
            f"{100 * each['validation_accuracy']:.2f} %",
        )
        for each in json.loads(COMMITTED.read_text())
    ]  # fmt: skip
    print(table(HEADERS, cells, "lrlrrrllr"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
