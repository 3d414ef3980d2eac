"""What training under quantization brings: ``python -m benchmarks.qat [--recipe NAME] [--train FOLDER] [--json]``.

Without ``--train`` prints the committed results (benchmarks/results/qat.json, or those of the recipe). With it, trains
the shipped weights of every model with every seed through the command line, as a user does, into FOLDER (runs that are
there are not made again, interrupted ones go on), scores the TFLite files on all CIFAR-10 test images, holds them
against their simulation in PyTorch on the same images, and prints the results. ``--record`` writes them into the
committed file, and the weights of the first seed to those that ship.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import checkpoint
from edgecnn.data import registry
from edgecnn.data.dataset import batches
from edgecnn.evaluate import predictor
from edgecnn.measure.stats import agreement
from edgecnn.quantize.qat import Trained
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.classify import predict
from edgecnn.train import CHECKPOINT, WEIGHTS

RESULTS = Path(__file__).parent / "results"
COMMITTED = {STATIC_W8A8.name: RESULTS / "qat.json", STATIC_W4A8.name: RESULTS / "qat_static_w4a8.json"}
MODELS = {
    STATIC_W8A8.name: ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8"),
    STATIC_W4A8.name: ("depth_res", "resnet8"),
}
SEEDS = (0, 1, 2)
FAST = ("--compile", "--precision", "bfloat16")
HEADERS = (
    "model", "float32", "calibrated", "trained: mean (lowest to highest)", "change, points: mean", "lowest",
    "agreement with simulation", "QUANTIZE ops", "epochs", "training",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One run: accuracies and agreement are shares of all test images, ``change`` is in points from float32.

    ``calibrated`` is the accuracy without training, as recorded with the shipped weights where it is.
    """

    model: str
    seed: int
    epochs: int
    learning_rate: float
    images: int
    float32: float
    calibrated: float
    trained: float
    change: float
    change_interval: tuple[float, float]
    agreement_with_simulation: float
    quantize_ops: int
    bytes: int
    seconds: float
    device: str
    command: str


def run(model: str, seed: int, folder: Path, recipe: str = STATIC_W8A8.name) -> Row:
    """Train, or go on with, one model and seed below ``folder``, and hold its file against its simulation."""
    start = model if recipe == STATIC_W8A8.name else f"{model}-{recipe}"
    place, bundle = (folder / f"{start}-{seed}{part}" for part in ("", "-bundle"))
    words = ["--qat", "--seed", str(seed), *FAST, "--run", str(place), "--out", str(bundle)]
    words += ["--resume"] if (place / CHECKPOINT).exists() else []
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
    low, high = quantized["change_interval_points"]
    calibrated = header.metrics.get(f"{recipe}_accuracy") or _calibrated(model, folder, recipe)
    settings, training = trained.header.recipe, trained.header.training
    return Row(
        model, seed, settings["epochs"], settings["learning_rate"], quantized["images"],
        document["float"]["accuracy"], calibrated, quantized["accuracy"],
        quantized["change_points"], (low, high), agreement(np.concatenate(simulated), np.concatenate(scored)),
        quantized["gate"]["quantize_ops"], quantized["bytes"], training["seconds"], training["device"],
        trained.header.command,
    )  # fmt: skip


def _calibrated(model: str, folder: Path, recipe: str) -> float:
    """The accuracy without training."""
    words = "--out", str(folder / f"{model}-{recipe}-calibrated-bundle")
    document = _quantized(folder / f"{model}-{recipe}-calibrated.json", model, recipe, *words)
    accuracy: float = document["quantized"]["accuracy"]
    return accuracy


def _quantized(report: Path, model: str, recipe: str, *words: str) -> dict[str, Any]:
    """What ``edgecnn quantize`` says, kept in the file ``report``."""
    if not report.exists():
        start = ["quantize", "--model", model, "--data", "cifar10", "--recipe", recipe, "--format", "tflite", "--json"]
        command = [sys.executable, "-m", "edgecnn", *start, *words]
        report.write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def ship(model: str, folder: Path, accuracy: float, recipe: str) -> None:
    """Put the weights of the first seed, with the accuracy of their file, beside the float weights that ship."""
    start = model if recipe == STATIC_W8A8.name else f"{model}-{recipe}"
    header, tensors = checkpoint.load(folder / f"{start}-{SEEDS[0]}" / WEIGHTS)
    more = replace(header, metrics=header.metrics | {f"{recipe}_accuracy": accuracy})
    checkpoint.save(checkpoint.shipped_folder() / header.dataset / f"{model}.{recipe}.safetensors", more, tensors)


def text(rows: list[dict[str, Any]]) -> str:
    """A line per model."""
    cells = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        trained = [100 * row["trained"] for row in mine]
        changes = [row["change"] for row in mine]
        minutes = statistics.mean(row["seconds"] for row in mine) / 60
        cells.append((
            model, f"{100 * mine[0]['float32']:.2f} %", f"{100 * mine[0]['calibrated']:.2f} %",
            f"{statistics.mean(trained):.2f} % ({min(trained):.2f} to {max(trained):.2f})",
            f"{statistics.mean(changes):+.2f}", f"{min(changes):+.2f}",
            f"{100 * min(row['agreement_with_simulation'] for row in mine):.2f} %",
            str(max(row["quantize_ops"] for row in mine)), str(mine[0]["epochs"]), f"{minutes:.1f} min",
        ))  # fmt: skip
    return table(HEADERS, cells, "lrrrrrrrrr")


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.qat", description="Float, calibrated, trained.")
    parser.add_argument("--train", type=Path, metavar="FOLDER")
    parser.add_argument("--recipe", default=STATIC_W8A8.name, choices=COMMITTED)
    parser.add_argument("--model", nargs="+")
    parser.add_argument("--seed", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    if options.train is None:
        rows = json.loads(COMMITTED[options.recipe].read_text())
    else:
        models = options.model or MODELS[options.recipe]
        runs = [run(model, seed, options.train, options.recipe) for model in models for seed in options.seed]
        rows = [asdict(row) for row in runs]
        if options.record:
            COMMITTED[options.recipe].write_text(json.dumps(rows, indent=2) + "\n")
            for row in rows:
                if row["seed"] == SEEDS[0]:
                    ship(row["model"], options.train, row["trained"], options.recipe)
    print(json.dumps(rows, indent=2) if options.json else text(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
