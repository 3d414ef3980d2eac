"""A data set that a small model learns in a moment, and the files of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from edgecnn import checkpoint
from edgecnn.data.augment import Augmentation
from edgecnn.data.dataset import DataSet, Memory
from edgecnn.train import CHECKPOINT, CURVE, WEIGHTS, TrainRecipe

FILES = sorted((CHECKPOINT, CURVE, WEIGHTS))
QUICK = TrainRecipe(epochs=2, batch_size=32, warmup_epochs=1, augmentation=Augmentation(shift=1))


def split(count: int, seed: int) -> Memory:
    """Noise of 16x16x1, a third of it each brighter at the top, at the bottom and nowhere."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 128, (count, 16, 16, 1), np.uint8)
    labels = np.arange(count) % 3
    images[labels == 0, :8] += 100
    images[labels == 1, 8:] += 100
    return Memory(images, labels)


def dataset() -> DataSet:
    """The same 100 training and 30 test images every time."""
    return DataSet("small", ("top", "bottom", "none"), (16, 16, 1), split(100, seed=1), split(30, seed=2))


def tensors(folder: Path, name: str = WEIGHTS) -> dict[str, Tensor]:
    """The tensors of a run's weights, or of another of its files."""
    return checkpoint.load(folder / name)[1]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Equal to the bit."""
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)
