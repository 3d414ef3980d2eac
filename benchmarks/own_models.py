"""Models from torchvision and timm, end to end: ``python -m benchmarks.own_models [--train FOLDER] [--model NAME...]``.

Without ``--train`` prints the committed results (results/own_models.json). With it, makes a folder data set in FOLDER
(patterns in random colours, places and sizes, 64x64), trains each model on it for a few epochs from nothing, quantizes
it to static_w8a8 with ``edgecnn quantize``'s own functions and prints a row: what the file is made of, what it weighs,
how often it chooses the float model's class, and what it loses. Weights that are in FOLDER already are not trained
again. ``--record`` puts the rows into the committed file, beside those of other models.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from edgecnn import models
from edgecnn.checkpoint import Header, annotate, load_model, tool_versions
from edgecnn.data import folder
from edgecnn.data.augment import Augmentation, to_input
from edgecnn.data.dataset import DataSet, batches
from edgecnn.errors import BadFileError, CheckFailedError, EdgeCNNError
from edgecnn.evaluate import score_model
from edgecnn.export.bundle import write_bundle
from edgecnn.export.drafts import orders
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.export.judge import comparison
from edgecnn.export.source import Source
from edgecnn.export.torchscript import DEFAULT_ENGINE
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime.files import write_bytes
from edgecnn.train import CHECKPOINT, WEIGHTS, Task, TrainRecipe
from edgecnn.train import run as train

RESULTS = Path(__file__).parent / "results" / "own_models.json"
SIDE = 64
PATTERNS = ("across", "dots", "rings", "upright")
IMAGES = {"train": 120, "test": 100}  # of each pattern
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
    "timm:convnext_atto": (12, 1e-3),
}
HEADERS = (
    "model", "traced by", "normalization", "operations", "outside XNNPACK", "float operations", "bytes", "float32",
    "static_w8a8", "drop", "agreement", "float file",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One model's static_w8a8 file; accuracies and agreement are shares of the test images, ``drop`` is in points.

    ``float_difference`` is how far the float32 file's logits are from PyTorch's, as a share of the largest. Seconds are
    those of a CPU core, ``tools`` the versions that it was made with.
    """

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
    float_difference: float
    images: int
    train_seconds: float
    quantize_seconds: float
    tools: dict[str, str] = field(default_factory=dict)


def make_data(path: Path) -> DataSet:
    """A folder data set of drawn patterns, the same at every call. Raises BadFileError if another one is there."""
    if not path.is_dir():
        random = np.random.default_rng(0)
        for split, count in IMAGES.items():
            for pattern in PATTERNS:
                (path / split / pattern).mkdir(parents=True)
                for number in range(count):
                    draw(pattern, random).save(path / split / pattern / f"{number:03}.png")
    dataset = folder.load(path, "patterns", (SIDE, SIDE, 3))
    if len(dataset.train) + len(dataset.test) != len(PATTERNS) * sum(IMAGES.values()):
        raise BadFileError(f"{path} holds other images than are drawn here; remove it")
    return dataset


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
    """Train, unless its weights are in ``work``, and quantize one model. Raises EdgeCNNError where a check fails."""
    out = work / models.short_name(model)
    if not (out / WEIGHTS).is_file():
        learn(model, dataset, out)
    started = time.process_time()
    network, header = load_model(out / WEIGHTS, model)
    header = settle(network, header, dataset)
    source = Source(network, header, dataset, CALIBRATION_IMAGES)
    wanted = orders(["tflite"], STATIC_W8A8, None, DEFAULT_ENGINE)
    judged = write_bundle(wanted, STATIC_W8A8, source, out / "bundle", force=True, say=say)
    failures = [each.failure for each in judged if each.failure is not None]
    if failures:
        raise CheckFailedError(failures[0])
    floats, quantized = judged
    against = comparison(judged, quantized.file)
    assert floats.artifact is not None and quantized.artifact is not None and against is not None
    assert floats.score is not None and quantized.score is not None
    gate, plain = quantized.artifact.gate, floats.artifact.gate
    outside = [name for name in str(gate["ops_outside_xnnpack"]).split(", ") if name]
    content = (out / "bundle" / quantized.file).read_bytes()
    return Row(
        model=model, traced_by=str(gate["traced_by"]), normalization=str(gate["normalization"]),
        operations=dict(TFLiteGraph(content).operations()), outside_xnnpack=len(outside),
        float_operations=str(gate["float_operations"]), bytes=quantized.artifact.bytes,
        float_bytes=floats.artifact.bytes, float_accuracy=floats.score.accuracy, accuracy=quantized.score.accuracy,
        drop=-against.change, agreement=against.agreement,
        float_difference=float(plain["max_logit_difference"] or 0) / float(plain["largest_logit"] or 1),
        images=quantized.score.images, train_seconds=round(header.metrics["cpu_seconds"], 1),
        quantize_seconds=round(time.process_time() - started, 1),
        tools=tool_versions("torch", "torchvision", "timm", "litert-torch", "ai-edge-litert"),
    )  # fmt: skip


def learn(model: str, dataset: DataSet, out: Path) -> None:
    """Train one model into the run folder ``out``, or go on where that was stopped."""
    epochs, rate = SETTINGS.get(model, USUAL)
    recipe = TrainRecipe(
        epochs=epochs, batch_size=16, optimizer="adamw", learning_rate=rate, weight_decay=0.01, label_smoothing=0.0,
        warmup_epochs=1.0, average=0.9, augmentation=Augmentation(shift=4, flip=True),
    )  # fmt: skip
    arguments = models.ModelArguments(len(dataset.classes), 3, (SIDE, SIDE))
    own = models.default_normalization(model, 3)
    header = Header(model, arguments, dataset.name, dataset.classes, recipe.to_json(), normalization=own)
    task = Task(header, lambda: start(models.create(model, arguments, own)))
    began = time.process_time()
    train(task, dataset, recipe, out, device="auto", resume=(out / CHECKPOINT).is_file(), force=False)
    annotate(out / WEIGHTS, {"cpu_seconds": time.process_time() - began})


def start(network: nn.Module) -> nn.Module:
    """Let the last layer begin with small weights.

    MnasNet and the EfficientNets draw them from a range of 1 / sqrt(classes), meant for 1,000: with a few classes their
    first logits are of the size of 10, and hundreds of steps go by until they are back at what knows nothing.
    """
    layers = [part for part in network.modules() if isinstance(part, nn.Linear)]
    for layer in layers[-1:]:
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return network


def settle(network: nn.Module, header: Header, dataset: DataSet) -> Header:
    """Take BatchNorm's statistics anew from all training images; gives the header with the accuracy that brings.

    Several of these models average them over thousands of steps (MnasNet with a momentum of 0.0003), and there were a
    few hundred.
    """
    network.eval()  # whole: dropped layers would be other ones in every run
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # the plain mean of all batches
            part.train()
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
    found = {row.model: asdict(row) for row in [*(known() if RESULTS.is_file() else []), *rows]}
    ordered = [found[model] for model in dict.fromkeys([*MODELS, *found]) if model in found]
    write_bytes(RESULTS, (json.dumps({"rows": ordered}, indent=2) + "\n").encode())


def known() -> list[Row]:
    """All rows of the results file; an older one says once for all of them what they were made with."""
    document = json.loads(RESULTS.read_text())
    return [Row(**{"tools": document.get("tools", {})} | row) for row in document["rows"]]


def committed(wanted: Sequence[str]) -> list[Row]:
    """The rows of the results file that are of the models ``wanted``."""
    return [row for row in known() if row.model in wanted]


def text(rows: list[Row]) -> str:
    """The table, and below it what stays float."""
    lines = [table(HEADERS, [cells(row) for row in rows], "lllrrrrrrrrr"), ""]
    for row in rows:
        if row.float_operations:
            lines += textwrap.wrap(f"{row.model} stays float in: {row.float_operations}", 120, break_on_hyphens=False)
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    floats = len([name for name in row.float_operations.split(", ") if name])
    return (
        row.model, row.traced_by, row.normalization, str(sum(row.operations.values())), str(row.outside_xnnpack),
        str(floats), f"{row.bytes:,}", f"{100 * row.float_accuracy:.2f} %", f"{100 * row.accuracy:.2f} %",
        f"{row.drop + 0.0:+.2f}", f"{100 * row.agreement:.2f} %", f"{row.float_difference:.0e}",
    )  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; 1 if a model failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_models", description="Others' models, end to end.")
    parser.add_argument("--train", type=Path, metavar="FOLDER")
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    if options.record and options.train is None:
        parser.error("--record keeps what --train makes; give both")
    rows, failures = [], 0
    if options.train is None:
        there = [row.model for row in known()]
        unknown = [model for model in options.model if model not in there]
        if unknown and options.model is not MODELS:
            parser.error(f"there is no result of {unknown[0]} (valid: {', '.join(there)}); --train makes new ones")
        rows = committed(options.model)
    else:
        dataset = make_data(options.train / "patterns")
        for model in options.model:
            say(model)
            try:
                rows.append(run(model, dataset, options.train))
            except EdgeCNNError as error:
                failures += 1
                say(f"{model}: {error}")
                continue
            if options.record:
                keep(rows[-1:])
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else text(rows))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
