"""What training under quantization brings: ``python -m benchmarks.qat [--recipe NAME] [--model NAME...] [--measure]``.

Shows the committed results, or makes them: trains the shipped weights of every model with every seed through the
command line, as a user does, below ``--runs`` (what is there is not made again, interrupted runs go on), scores the
TFLite files on all CIFAR-10 test images, and holds them against their simulation in PyTorch on the same images.
``--record`` also puts the weights of the first seed beside those that ship.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.committed import Results, Row
from benchmarks.said import said
from edgecnn import checkpoint
from edgecnn.data import registry
from edgecnn.data.dataset import batches
from edgecnn.errors import UsageError
from edgecnn.evaluate import predictor
from edgecnn.measure.stats import agreement
from edgecnn.quantize.qat import Trained
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.classify import predict
from edgecnn.train import CHECKPOINT, WEIGHTS

MODELS = {
    STATIC_W8A8.name: ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8"),
    STATIC_W4A8.name: ("depth_res", "resnet8"),
}
SEEDS = (0, 1, 2)
HEADERS = (
    "model", "recipe", "float32", "calibrated", "trained: mean (lowest to highest)", "change, points: mean", "lowest",
    "agreement with simulation", "QUANTIZE ops", "epochs", "training",
)  # fmt: skip


def run(model: str, recipe: str, seed: int, precision: str, folder: Path) -> Row:
    """Train, or go on with, one model and seed below ``folder``, and hold its file against its simulation.

    Accuracies and agreement are shares of all test images, ``change`` is in points from float32. ``calibrated`` is the
    accuracy without training, as recorded with the shipped weights where it is. Raises UsageError where a run of
    another precision is.
    """
    start = model if recipe == STATIC_W8A8.name else f"{model}-{recipe}"
    place, bundle = (folder / f"{start}-{seed}{part}" for part in ("", "-bundle"))
    words = ["--qat", "--seed", str(seed), "--compile", "--precision", precision]
    words += ["--run", str(place), "--out", str(bundle)]
    words += ["--resume"] if (place / CHECKPOINT).exists() else []
    _check_precision(place, precision)
    document = _quantized(folder / f"{start}-{seed}.json", model, recipe, *words)
    shipped = checkpoint.shipped(model, "cifar10")
    assert shipped is not None  # or it could not have been trained
    network, header = checkpoint.load_model(shipped)
    trained = Trained.load(place / WEIGHTS, network, header)
    simulated, scored = [], []
    simulate = predictor(trained.graph(network, trained.rewrites))
    made = open_bundle(bundle)
    with made.open(made.artifact()) as runner:
        for images, _ in batches(registry.load("cifar10").test, 500):
            simulated.append(simulate(images).argmax(1))
            scored.append(predict(runner, images).argmax(1))
    quantized = document["quantized"]
    calibrated = header.metrics.get(f"{recipe}_accuracy") or _calibrated(model, folder, recipe)
    settings, training = trained.header.recipe, trained.header.training
    return {
        "model": model, "recipe": recipe, "seed": seed, "epochs": settings["epochs"],
        "learning_rate": settings["learning_rate"], "images": quantized["images"],
        "float32": document["float"]["accuracy"], "calibrated": calibrated, "trained": quantized["accuracy"],
        "change": quantized["change_points"], "change_interval": quantized["change_interval_points"],
        "agreement_with_simulation": agreement(np.concatenate(simulated), np.concatenate(scored)),
        "quantize_ops": quantized["gate"]["quantize_ops"], "bytes": quantized["bytes"],
        "seconds": training["seconds"], "device": training["device"], "command": trained.header.command,
    }  # fmt: skip


def _check_precision(place: Path, precision: str) -> None:
    if not (place / WEIGHTS).is_file():
        return
    there = checkpoint.load(place / WEIGHTS)[0].recipe.get("precision")
    if there != precision:
        raise UsageError(f"{place} was trained in {there}; give --precision {there}, or another --runs for {precision}")


def _calibrated(model: str, folder: Path, recipe: str) -> float:
    """The accuracy without training."""
    words = "--out", str(folder / f"{model}-{recipe}-calibrated-bundle")
    document = _quantized(folder / f"{model}-{recipe}-calibrated.json", model, recipe, *words)
    accuracy: float = document["quantized"]["accuracy"]
    return accuracy


def _quantized(report: Path, model: str, recipe: str, *words: str) -> dict[str, Any]:
    """What ``edgecnn quantize`` says, kept in the file ``report``."""
    start = ["quantize", "--model", model, "--data", "cifar10", "--recipe", recipe, "--format", "tflite"]
    return said(report, *start, *words)


def ship(model: str, folder: Path, accuracy: float) -> None:
    """Put the weights of the first seed, with the accuracy of their file, beside the float weights that ship.

    Those of static_w8a8 alone: with 4-bit weights calibration gives as much.
    """
    recipe = STATIC_W8A8.name
    path = checkpoint.shipped_path(model, "cifar10", recipe)
    checkpoint.annotate(folder / f"{model}-{SEEDS[0]}" / WEIGHTS, {f"{recipe}_accuracy": accuracy}, path)


def text(rows: Sequence[Row]) -> str:
    """A line per model and recipe."""
    cells = []
    for model, recipe in dict.fromkeys((row["model"], row["recipe"]) for row in rows):
        mine = [row for row in rows if (row["model"], row["recipe"]) == (model, recipe)]
        trained = [100 * row["trained"] for row in mine]
        changes = [row["change"] for row in mine]
        minutes = statistics.mean(row["seconds"] for row in mine) / 60
        cells.append((
            model, recipe, f"{100 * mine[0]['float32']:.2f} %", f"{100 * mine[0]['calibrated']:.2f} %",
            f"{statistics.mean(trained):.2f} % ({min(trained):.2f} to {max(trained):.2f})",
            f"{statistics.mean(changes):+.2f}", f"{min(changes):+.2f}",
            f"{100 * min(row['agreement_with_simulation'] for row in mine):.2f} %",
            str(max(row["quantize_ops"] for row in mine)), str(mine[0]["epochs"]), f"{minutes:.1f} min",
        ))  # fmt: skip
    return table(HEADERS, cells, "llrrrrrrrrr")


RESULTS = Results("qat.json", ("model", "recipe", "seed"), text)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.qat", description="Float, calibrated, trained.")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", default=Path("runs/qat"))
    parser.add_argument("--recipe", nargs="+", default=list(MODELS), choices=MODELS)
    known = list(dict.fromkeys(itertools.chain(*MODELS.values())))
    parser.add_argument("--model", nargs="+", default=known, choices=known)
    parser.add_argument("--seed", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--precision", default="bfloat16", help="float32 is faster where the processor has no bfloat16")

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        for recipe, model, seed in itertools.product(options.recipe, options.model, options.seed):
            if model in MODELS[recipe]:
                row = run(model, recipe, seed, options.precision, options.runs)
                if options.record and seed == SEEDS[0] and recipe == STATIC_W8A8.name:
                    ship(model, options.runs, row["trained"])
                yield row

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
