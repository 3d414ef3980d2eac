"""What a data set is: two splits of labelled uint8 images, read in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgecnn.errors import UsageError

HOLD_OUT_SEED = 0


class Split(Protocol):
    """Labelled images that are read on demand, so that scoring never holds them all."""

    def __len__(self) -> int:
        """Number of images."""

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [n, height, width, channels] and labels int64 [n] at ``indices`` int [n], in that order."""


@dataclass(frozen=True)
class DataSet:
    """A named data set.

    ``image`` is (height, width, channels). ``note`` says how it came to be chosen, where that is not plain.
    ``mirrorable``: an image turned left to right still shows its class.
    """

    name: str
    classes: tuple[str, ...]
    image: tuple[int, int, int]
    train: Split
    test: Split
    note: str = ""
    mirrorable: bool = True


@dataclass(frozen=True)
class Memory:
    """A split that is held in memory: images uint8 [n, height, width, channels], labels int64 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.images[indices], self.labels[indices]


@dataclass(frozen=True)
class Subset:
    """The images of ``split`` at ``indices`` int [n]."""

    split: Split
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.split.take(self.indices[indices])


def everything(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels of a split at once; for training, which revisits them every epoch."""
    return split.take(np.arange(len(split)))


def batches(split: Split, size: int, limit: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first ``limit`` images of a split (all when None) in order, in pieces of at most ``size``."""
    count = len(split) if limit is None else min(limit, len(split))
    for start in range(0, count, size):
        yield split.take(np.arange(start, min(start + size, count)))


def sample(split: Split, count: int, seed: int) -> Subset:
    """A random subset of ``count`` images (all when there are fewer), the same for the same seed."""
    order = np.random.default_rng(seed).permutation(len(split))
    return Subset(split, np.sort(order[:count]))


def hold_out(split: Split, fraction: float) -> tuple[Subset, Subset]:
    """Split at random into (kept, held out), the held-out part holding ``fraction`` of the images.

    It is the same for the same fraction, so that what goes on from a training holds out what that did.
    """
    order = np.random.default_rng(HOLD_OUT_SEED).permutation(len(split))
    held = round(len(split) * fraction)
    return Subset(split, np.sort(order[held:])), Subset(split, np.sort(order[:held]))


def held_apart(images: Split, validation: float) -> tuple[Split, Split | None]:
    """``hold_out`` of training images, where any are to be held out. Raises UsageError for a share of less than one."""
    if validation == 0:
        return images, None
    fitted, held = hold_out(images, validation)
    if len(held) == 0:
        raise UsageError(f"validation {validation} of {len(images)} training images is not one image; raise it")
    return fitted, held
