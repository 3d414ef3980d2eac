"""What training under quantization brings: ``python -m benchmarks.qat [--train FOLDER] [--model NAME...] [--json]``.

Without ``--train`` prints the committed results (benchmarks/results/qat.json). With it, trains the shipped weights of
every model with every seed through the command line, as a user does, into FOLDER (runs that are there are not made
again, interrupted ones go on), scores the TFLite files on all CIFAR-10 test images, holds them against their
simulation in PyTorch on the same images, and prints the results. ``--record`` writes them into the committed file,
and the weights of the first seed to those that ship.
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
from edgecnn.report.table import table
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.classify import predict
from edgecnn.train import CHECKPOINT, WEIGHTS

COMMITTED = Path(__file__).parent / "results" / "qat.json"
MODELS = ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8")
SEEDS = (0, 1, 2)
FAST = ("--compile", "--precision", "bfloat16")
HEADERS = (
    "model", "float32", "calibrated", "trained: mean (lowest to highest)", "change, points: mean", "lowest",
    "agreement with simulation", "QUANTIZE ops", "epochs", "training",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One run: accuracies and agreement are shares of all test images, ``change`` is in points from float32.

    ``calibrated`` is the accuracy without training, as recorded with the shipped weights.
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


def run(model: str, seed: int, folder: Path) -> Row:
    """Train, or go on with, one model and seed below ``folder``, and hold its file against its simulation."""
    place, bundle, report = (folder / f"{model}-{seed}{part}" for part in ("", "-bundle", ".json"))
    if not report.exists():
        words = ["quantize", "--model", model, "--data", "cifar10", "--qat", "--seed", str(seed), "--format", "tflite"]
        words += [*FAST, "--run", str(place), "--out", str(bundle), "--json"]
        words += ["--resume"] if (place / CHECKPOINT).exists() else []
        done = subprocess.run([sys.executable, "-m", "edgecnn", *words], stdout=subprocess.PIPE, check=True)
        report.write_bytes(done.stdout)
    document: dict[str, Any] = json.loads(report.read_text())
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
    settings, training = trained.header.recipe, trained.header.training
    return Row(
        model, seed, settings["epochs"], settings["learning_rate"], quantized["images"],
        document["float"]["accuracy"], header.metrics["static_w8a8_accuracy"], quantized["accuracy"],
        quantized["change_points"], (low, high), agreement(np.concatenate(simulated), np.concatenate(scored)),
        quantized["gate"]["quantize_ops"], quantized["bytes"], training["seconds"], training["device"],
        trained.header.command,
    )  # fmt: skip


def ship(model: str, folder: Path, accuracy: float) -> None:
    """Put the weights of the first seed, with the accuracy of their file, beside the float weights that ship."""
    header, tensors = checkpoint.load(folder / f"{model}-{SEEDS[0]}" / WEIGHTS)
    recipe = header.quantization["recipe_name"]
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
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    if options.train is None:
        rows = json.loads(COMMITTED.read_text())
    else:
        rows = [asdict(run(model, seed, options.train)) for model in options.model for seed in SEEDS]
        if options.record:
            COMMITTED.write_text(json.dumps(rows, indent=2) + "\n")
            for row in rows:
                if row["seed"] == SEEDS[0]:
                    ship(row["model"], options.train, row["trained"])
    print(json.dumps(rows, indent=2) if options.json else text(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
