"""Models from torchvision and timm, end to end: ``python -m benchmarks.own_models [--model NAME...] [--json]``.

Makes a folder of images (six patterns in random colours, places and sizes, 64x64), trains each model on it for a
few epochs from nothing, quantizes it to static_w8a8 with ``edgecnn quantize``'s own functions and prints a row: what
the file is made of, what it weighs, how often it chooses the float model's class, and what it loses. The rows are
kept in ``results/own_models.json``, those of other models with them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from edgecnn import models
from edgecnn.checkpoint import Header, load_model, tool_versions
from edgecnn.data import folder
from edgecnn.data.augment import Augmentation, to_input
from edgecnn.data.dataset import DataSet, batches
from edgecnn.errors import CheckFailedError, EdgeCNNError
from edgecnn.evaluate import score_model
from edgecnn.export.bundle import write_bundle
from edgecnn.export.drafts import orders
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.export.judge import comparison
from edgecnn.export.source import Source
from edgecnn.export.torchscript import DEFAULT_ENGINE
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime.files import write_bytes
from edgecnn.train import WEIGHTS, TrainRecipe, train

RESULTS = Path(__file__).parent / "results" / "own_models.json"
SIDE = 64
PATTERNS = ("across", "checks", "diagonal", "dots", "rings", "upright")
IMAGES = {"train": 150, "test": 100}  # of each pattern
MODELS = (
    "torchvision:mobilenet_v2", "torchvision:mobilenet_v3_small", "torchvision:resnet18", "torchvision:squeezenet1_1",
    "torchvision:shufflenet_v2_x0_5", "torchvision:efficientnet_b0", "torchvision:regnet_y_400mf",
    "torchvision:mnasnet0_5", "timm:mobilenetv3_small_050", "timm:tf_efficientnet_lite0", "timm:resnet10t",
    "timm:convnext_atto",
)  # fmt: skip
# Epochs and peak learning rate, where the usual ones do not lead from random weights to good ones in so few steps.
USUAL = (8, 2e-3)
SETTINGS = {
    "torchvision:squeezenet1_1": (16, 5e-4),
    "torchvision:shufflenet_v2_x0_5": (24, 3e-3),
    "torchvision:efficientnet_b0": (20, 2e-3),
    "torchvision:mnasnet0_5": (20, 2e-3),
    "torchvision:resnet18": (5, 2e-3),
    "timm:mobilenetv3_small_050": (12, 2e-3),
    "timm:resnet10t": (5, 2e-3),
    "timm:tf_efficientnet_lite0": (20, 2e-3),
    "timm:convnext_atto": (16, 1e-3),
}
HEADERS = (
    "model", "traced by", "normalization", "operations", "outside XNNPACK", "float operations", "bytes", "float32",
    "static_w8a8", "drop", "agreement",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One model's static_w8a8 file; accuracies and agreement are shares of the test images, ``drop`` is in points."""

    model: str
    traced_by: str
    normalization: str
    operations: dict[str, int]
    outside_xnnpack: int
    float_operations: str
    bytes: int
    float_bytes: int
    float_accuracy: float
    accuracy: float
    drop: float
    agreement: float
    images: int
    train_seconds: float
    quantize_seconds: float


def make_data(path: Path) -> DataSet:
    """A folder data set of drawn patterns, the same at every call."""
    random = np.random.default_rng(0)
    for split, count in IMAGES.items():
        for pattern in PATTERNS:
            (path / split / pattern).mkdir(parents=True)
            for number in range(count):
                draw(pattern, random).save(path / split / pattern / f"{number:03}.png")
    return folder.load(path, "patterns", (SIDE, SIDE, 3))


def draw(pattern: str, random: np.random.Generator) -> Image.Image:
    """One picture: a pattern in two colours, at a random place and scale, with noise."""
    dark, bright = sorted(random.integers(0, 256, (2, 3)).tolist(), key=sum)
    while sum(bright) - sum(dark) < 240:
        dark, bright = sorted(random.integers(0, 256, (2, 3)).tolist(), key=sum)
    y, x = (np.mgrid[:SIDE, :SIDE] + random.uniform(0, SIDE, (2, 1, 1))) * 2 * math.pi / random.uniform(9, 13)
    waves = {
        "across": np.sin(y), "diagonal": np.sin((x + y) / 1.4), "dots": np.minimum(np.sin(x), np.sin(y)),
        "checks": np.sin(x) * np.sin(y), "rings": np.sin(np.hypot(x - x.mean(), y - y.mean())), "upright": np.sin(x),
    }  # fmt: skip
    share = (waves[pattern] > 0)[:, :, None]
    noisy = np.where(share, bright, dark) + random.normal(0, 6, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def run(model: str, dataset: DataSet, work: Path) -> Row:
    """Train and quantize one model. Raises EdgeCNNError where a check fails."""
    epochs, rate = SETTINGS.get(model, USUAL)
    recipe = TrainRecipe(
        epochs=epochs, batch_size=32, optimizer="adamw", learning_rate=rate, weight_decay=0.01, label_smoothing=0.0,
        warmup_epochs=1.0, average=0.9, augmentation=Augmentation(shift=4, flip=True),
    )  # fmt: skip
    out = work / models.short_name(model)
    header = train(model, dataset, recipe, out, normalization=models.default_normalization(model, 3))
    started = time.monotonic()
    network, header = load_model(out / WEIGHTS, model)
    header = settle(network, header, dataset)
    source = Source(network, header, dataset, 512)
    wanted = orders(["tflite"], STATIC_W8A8, None, DEFAULT_ENGINE)
    judged = write_bundle(wanted, STATIC_W8A8, source, out / "bundle", force=False, say=say)
    failures = [each.failure for each in judged if each.failure is not None]
    if failures:
        raise CheckFailedError(failures[0])
    floats, quantized = judged
    against = comparison(judged, quantized.file)
    assert floats.artifact is not None and quantized.artifact is not None and against is not None
    assert floats.score is not None and quantized.score is not None
    gate = quantized.artifact.gate
    outside = [name for name in str(gate["ops_outside_xnnpack"]).split(", ") if name]
    content = (out / "bundle" / quantized.file).read_bytes()
    return Row(
        model=model, traced_by=str(gate["traced_by"]), normalization=str(gate["normalization"]),
        operations=dict(TFLiteGraph(content).operations()), outside_xnnpack=len(outside),
        float_operations=str(gate["float_operations"]), bytes=quantized.artifact.bytes,
        float_bytes=floats.artifact.bytes, float_accuracy=floats.score.accuracy, accuracy=quantized.score.accuracy,
        drop=-against.change, agreement=against.agreement, images=quantized.score.images,
        train_seconds=round(float(header.training["seconds"]), 1),
        quantize_seconds=round(time.monotonic() - started, 1),
    )  # fmt: skip


def settle(network: nn.Module, header: Header, dataset: DataSet) -> Header:
    """Take BatchNorm's statistics anew from all training images; gives the header with the accuracy that brings.

    Several of these models average them over thousands of steps, and there were a few hundred.
    """
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # the plain mean of all batches
    network.train()
    with torch.no_grad():
        for pictures, _ in batches(dataset.train, 100):
            network(to_input(torch.from_numpy(pictures)))
    score = score_model(network.eval(), dataset.test)
    return replace(header, metrics=header.metrics | {"test_accuracy": score.accuracy})


def say(line: str) -> None:
    """To the person waiting."""
    print(line, file=sys.stderr, flush=True)


def keep(rows: list[Row]) -> None:
    """Put the rows into the results file in the place of older ones of the same models."""
    older = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
    found = {row["model"]: row for row in older} | {row.model: asdict(row) for row in rows}
    ordered = [found[model] for model in MODELS if model in found]
    tools = tool_versions("torch", "torchvision", "timm", "litert-torch", "ai-edge-litert")
    write_bytes(RESULTS, (json.dumps({"tools": tools, "rows": ordered}, indent=2) + "\n").encode())


def text(rows: list[Row]) -> str:
    """The table."""
    return table(HEADERS, [cells(row) for row in rows], "lllrrrrrrrr")


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    floats = len([name for name in row.float_operations.split(", ") if name])
    return (
        row.model, row.traced_by, row.normalization, str(sum(row.operations.values())), str(row.outside_xnnpack),
        str(floats), f"{row.bytes:,}", f"{100 * row.float_accuracy:.2f} %", f"{100 * row.accuracy:.2f} %",
        f"{row.drop:+.2f}", f"{100 * row.agreement:.2f} %",
    )  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; 1 if a model failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_models", description="Others' models, end to end.")
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    rows, failures = [], []
    with tempfile.TemporaryDirectory() as work:
        dataset = make_data(Path(work) / "patterns")
        for model in options.model:
            say(model)
            try:
                rows.append(run(model, dataset, Path(work)))
                keep(rows[-1:])
            except EdgeCNNError as error:
                failures.append(f"{model}: {error}")
                say(failures[-1])
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else text(rows))
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
