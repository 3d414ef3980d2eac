"""What each part of the architectures brings: ``python -m benchmarks.experiments [--measure] [--what NAME...]``.

Shows the committed results, or makes them: trains every variant of ``benchmarks/variants.py`` with every seed by one
and the same recipe below ``--runs`` (what is there is not made again, interrupted runs go on), quantizes it, and times
the files of the first seed by turns in one run. Nothing is chosen here, so all CIFAR-10 test images may be scored.
``experiments.ipynb`` shows what came out; with EDGECNN_SHORT=1 it trains for a moment on digits instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.committed import Results, Row
from benchmarks.compared import ACCURACY, FILE, FILES, LATENCY, PLAIN, text
from benchmarks.variants import VARIANTS
from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.data import registry
from edgecnn.data.augment import Augmentation
from edgecnn.data.dataset import DataSet, Subset
from edgecnn.errors import CheckFailedError
from edgecnn.evaluate import score_model
from edgecnn.export.bundle import write_bundle
from edgecnn.export.drafts import Order
from edgecnn.export.judge import image_of, make_and_check
from edgecnn.export.source import Source
from edgecnn.measure import cases
from edgecnn.measure.accuracy import confusion
from edgecnn.measure.bench import bench
from edgecnn.measure.costs import costs_of
from edgecnn.measure.measurement import Settings
from edgecnn.measure.stats import agreement
from edgecnn.models import ModelArguments
from edgecnn.models.cost import macs, parameters
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, FLOAT32, STATIC_W8A8
from edgecnn.runtime.files import write_bytes
from edgecnn.train import CHECKPOINT, WEIGHTS, Task, TrainRecipe
from edgecnn.train import run as train
from edgecnn.train.folder import check_same_settings
from edgecnn.train.recipe import suited
from edgecnn.train.state import State

RECIPE = TrainRecipe(
    epochs=8, **suited("sgd"), label_smoothing=0.0, warmup_epochs=1.0, average=0.99,
    augmentation=Augmentation(shift=2, flip=True), precision="bfloat16", compile=True, validation=0.1,
)  # fmt: skip
SEEDS = (0, 1)
TURNS = Settings(runs=7, min_seconds=1.4)
PLAIN_FILE = "plain.tflite"
PLAIN_TOO = ("mod_cnn", "depthwise", "depthwise_bn_relu")  # where a rewrite undoes what is asked about

SHORT = "EDGECNN_SHORT"
SHORT_RECIPE = replace(
    RECIPE, epochs=2, batch_size=64, compile=False, precision="float32", augmentation=Augmentation(2, flip=False)
)
SHORT_FILES = ("lenet",)  # a conversion takes seconds, more than all of the short training
SHORT_IMAGES = 320  # to train on, and half as many to score on


def learn(model: str, recipe: TrainRecipe, dataset: DataSet, out: Path) -> None:
    """Train a variant into the run folder ``out``, or go on where that was stopped; what is finished stays.

    The weights' header gets ``cpu_seconds``, of an epoch in the middle of the run: the first one compiles.
    """
    if (out / WEIGHTS).is_file():
        return
    arguments = ModelArguments.for_images(dataset.image, len(dataset.classes))
    header = Header(model, arguments, dataset.name, dataset.classes, recipe.to_json())
    begun: list[float] = []

    def note(_state: State, _epoch: int) -> None:
        begun.append(time.process_time())

    torch.compiler.reset()  # which gives up after compiling a few networks in one process
    task = Task(header, lambda: built(model, arguments), note)
    train(task, dataset, recipe, out, device="cpu", resume=(out / CHECKPOINT).is_file(), force=False)
    if len(begun) > 2:
        spent = [later - earlier for earlier, later in itertools.pairwise(begun[1:])]
        checkpoint.annotate(out / WEIGHTS, {"cpu_seconds": statistics.median(spent)})


def check_run(out: Path, recipe: TrainRecipe, dataset: DataSet) -> None:
    """Raise UsageError for a run folder of other data or another recipe, whose figures would pass for these."""
    if not (out / WEIGHTS).is_file():
        return
    there, _ = checkpoint.load(out / WEIGHTS)
    check_same_settings(out, {"dataset": there.dataset} | there.recipe, {"dataset": dataset.name} | recipe.to_json())


def built(model: str, arguments: ModelArguments) -> nn.Module:
    """A variant as it is before training."""
    return VARIANTS[model](arguments.num_classes, arguments.in_channels, arguments.image_size)


def trained(out: Path) -> tuple[nn.Module, Header]:
    """The network of a run folder, in evaluation mode, and the header of its weights."""
    path = out / WEIGHTS
    header, tensors = checkpoint.load(path)
    network = built(header.model, header.arguments)
    checkpoint.fit(network, tensors, path)
    return network.eval(), header


def accuracy(model: str, recipe: TrainRecipe, dataset: DataSet, folder: Path) -> Row:
    """Train one variant and score its float network on all test images.

    Accuracies are shares, of the held-out training images in ``curve``; ``confusion`` counts test images, a row for
    each true class. ``cpu_seconds`` are those of an epoch, None where there were too few to tell.
    """
    out = folder / f"{model}-{recipe.seed}"
    learn(model, recipe, dataset, out)
    network, header = trained(out)
    curve = checkpoint.load(out / CHECKPOINT)[0].training["curve"]
    score = score_model(network, dataset.test)
    return {
        "what": ACCURACY, "model": model, "seed": recipe.seed, "epochs": recipe.epochs, "dataset": dataset.name,
        "learning_rate": recipe.learning_rate, "trained_on": round(len(dataset.train) * (1 - recipe.validation)),
        "classes": dataset.classes, "images": score.images,
        "parameters": parameters(network), "macs": macs(network, header.arguments), "accuracy": score.accuracy,
        "cpu_seconds": header.metrics.get("cpu_seconds"), "threads": header.training["threads"],
        "device": header.training["device"],
        "curve": [
            {name: round(row[name], 5) for name in ("loss", "train_accuracy", "validation_accuracy")}
            for row in curve
        ],
        "confusion": confusion(score, len(dataset.classes)).tolist(),
    }  # fmt: skip


def file(model: str, seed: int, dataset: DataSet, folder: Path, *, timed: bool) -> Row:
    """Quantize a trained variant by calibration, and score the TFLite file on all test images.

    Where the files are ``timed``, the others of its kinds are made as well.
    """
    out = folder / f"{model}-{seed}"
    kept = out / "file.json"
    if kept.exists():
        row: Row = json.loads(kept.read_text())
        return row
    network, header = trained(out)
    source = Source(network, header, dataset, CALIBRATION_IMAGES)
    orders = [Order("tflite", recipe) for recipe in ((FLOAT32, STATIC_W8A8) if timed else (STATIC_W8A8,))]
    judged = write_bundle(orders, STATIC_W8A8, source, out / "bundle", force=True, say=_say)[-1]
    assert judged.artifact is not None and judged.score is not None  # or no bundle would have been written
    if timed and PLAIN in kinds_of(model):
        make_and_check(Order("tflite", STATIC_W8A8, ()), PLAIN_FILE, source, out, image_of(source))
    same = agreement(score_model(network, dataset.test).predictions, judged.score.predictions)
    row = {
        "what": FILE, "model": model, "seed": seed, "accuracy": judged.score.accuracy, "agreement": same,
        "bytes": judged.artifact.bytes, "passes": judged.rewrites,
    }  # fmt: skip
    write_bytes(kept, json.dumps(row).encode())
    return row


def kinds_of(model: str) -> list[str]:
    """Which files of a variant are timed."""
    return [name for name in FILES if name != PLAIN or model in PLAIN_TOO]


def latency(models: Sequence[str], seed: int, folder: Path, settings: Settings) -> Iterator[Row]:
    """Time all files of the variants by turns in one run: microseconds an image in each of its rounds.

    Raises CheckFailedError for a file that does not run.
    """
    with tempfile.TemporaryDirectory() as place:
        names = [(model, kind) for model in models for kind in kinds_of(model)]
        for model, kind in names:
            out = folder / f"{model}-{seed}"
            path = out / PLAIN_FILE if kind == PLAIN else out / "bundle" / Order("tflite", FILES[kind]).file(model)
            shutil.copy(path, Path(place) / f"{model}-{kind}.tflite")  # outside its bundle nothing is scored
        paths = tuple(Path(place) / f"{model}-{kind}.tflite" for model, kind in names)
        session = bench(cases.find_cases(cases.Order(paths, ("litert",))), settings, say=_say)
        sizes = {each: path.stat().st_size for each, path in zip(names, paths, strict=True)}
    costs = costs_of(session)
    found = dict(zip(names, costs.rows, strict=True))
    for (model, kind), runs in found.items():
        if isinstance(runs, str):
            raise CheckFailedError(f"the {kind} file of {model} does not run: {runs}")
    for model in models:
        yield {
            "what": LATENCY, "model": model, "seed": seed, "engine": costs.engine, "cpu": costs.cpu,
            "doubts": costs.doubts, "bytes": {kind: sizes[model, kind] for kind in kinds_of(model)},
            "microseconds": {kind: [round(float(each), 3) for each in found[model, kind]] for kind in kinds_of(model)},
        }  # fmt: skip


def found() -> list[Row]:
    """What the notebook shows: the committed results, or where EDGECNN_SHORT is 1 those of a moment's work."""
    if os.environ.get(SHORT) != "1":
        return RESULTS.rows()
    with tempfile.TemporaryDirectory() as folder:
        return list(short(Path(folder)))


def short(folder: Path) -> Iterator[Row]:
    """The same chain on a few hundred digits: every variant trained, some of them quantized and timed."""
    whole = registry.load("digits")
    few, fewer = (np.arange(count) for count in (SHORT_IMAGES, SHORT_IMAGES // 2))
    dataset = replace(whole, train=Subset(whole.train, few), test=Subset(whole.test, fewer))
    for model in VARIANTS:
        yield accuracy(model, SHORT_RECIPE, dataset, folder)
    for model in SHORT_FILES:
        yield file(model, SHORT_RECIPE.seed, dataset, folder, timed=True)
    yield from latency(SHORT_FILES, SHORT_RECIPE.seed, folder, Settings(runs=5, min_seconds=0.05))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


RESULTS = Results("experiments.json", ("what", "model", "seed"), text)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description="One change at a time.")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", default=Path("runs/experiments"))
    parser.add_argument("--what", nargs="+", default=[ACCURACY, FILE, LATENCY], choices=[ACCURACY, FILE, LATENCY])
    parser.add_argument("--model", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--data", default="cifar10")

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        dataset = registry.load(options.data)
        for model, seed in itertools.product(options.model, {*options.seed, SEEDS[0]}):
            check_run(options.runs / f"{model}-{seed}", replace(RECIPE, seed=seed), dataset)
        for seed in options.seed:
            for model in options.model:
                if ACCURACY in options.what:
                    _say(f"{model}, seed {seed}")
                    yield accuracy(model, replace(RECIPE, seed=seed), dataset, options.runs)
                if FILE in options.what:
                    yield file(model, seed, dataset, options.runs, timed=seed == SEEDS[0])
        if LATENCY in options.what:
            yield from latency(options.model, SEEDS[0], options.runs, TURNS)

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
