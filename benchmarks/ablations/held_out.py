"""What the ablations have in common: trainings scored on training images held out, and how spreads are shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.committed import Row
from edgecnn import checkpoint
from edgecnn.data import registry
from edgecnn.train import CHECKPOINT, TrainRecipe, train
from edgecnn.train.distill import load_teachers

HELD_OUT = 0.1
SEEDS = (0, 1, 2)


def learned(model: str, recipe: TrainRecipe, weights: Path | None, folder: Path, *names: str) -> Row:
    """Train below ``folder``, or go on with it; ``weights`` are the teacher's, if it has one, ``names`` the run's own.

    Accuracies are shares: that of the images held out, and that of the last epoch's augmented images.
    ``seconds`` is what training took.
    """
    data = registry.load("cifar10")
    recipe = replace(recipe, validation=HELD_OUT)
    teacher, origin = (None, {}) if weights is None else load_teachers([weights], data)
    taught = [origin["model"]] if origin else []
    out = folder / "-".join([model, *names, *taught, str(recipe.seed)])
    torch.compiler.reset()  # it counts every network's layers, and after some stops compiling
    header = train(
        model, data, recipe, out, teacher=teacher, origin=origin, device="cpu", resume=(out / CHECKPOINT).exists()
    )
    last = checkpoint.load(out / CHECKPOINT)[0].training["curve"][-1]
    return {
        "model": model, "teacher": "".join(taught), "seed": recipe.seed, "epochs": header.training["epochs"],
        "images": header.metrics["validation_images"], "accuracy": header.metrics["validation_accuracy"],
        "train_accuracy": last["train_accuracy"], "seconds": header.training["seconds"],
    }  # fmt: skip


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean, lowest and highest, or the one value there is; with '+' as ``sign`` they are changes."""
    ends = f" ({min(values):{sign}.2f} to {max(values):{sign}.2f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.2f}{ends}"
