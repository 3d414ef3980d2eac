"""Feeds a training by turns in two ways: ``python -m benchmarks.augmentation [--images 20000] [--rounds 7] [--json]``.

"whole batch" is edgecnn's way: the uint8 images lie in one tensor, and each batch is gathered, shifted by up to 4
pixels, mirrored and normalized at once, here by one thread. "image by image" is the usual one: torchvision's RandomCrop
with padding 4, RandomHorizontalFlip, ToTensor and Normalize, in a DataLoader with two workers that have been started
before. Both give float32 [256, 3, 32, 32] from the same random images, and the ways take turns: A B, A B, ... So
whatever else slows the machine slows both, and their ratio, taken round by round, is steadier than either speed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgecnn.data.augment import Augmentation, to_input
from edgecnn.errors import EdgeCNNError, MissingExtraError, UsageError
from edgecnn.report.table import table
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET

BATCH = 256
PIXELS = 4
WORKERS = 2
HEADERS = ("way", "images/s", "slowest to fastest round", "ratio")


@dataclass(frozen=True)
class Speed:
    """Images per second of one way: the median of ``rounds``, and the median of its ratios to "image by image"."""

    way: str
    images_per_second: float
    ratio: float
    rounds: list[float]


def measure(images: int = 20_000, rounds: int = 7) -> list[Speed]:
    """Speeds of "whole batch" and "image by image", each fed ``images`` images in each of ``rounds`` rounds.

    Leaves torch with one thread. Raises UsageError for less than a batch or a round, MissingExtraError without
    torchvision.
    """
    if images < BATCH or rounds < 1:
        raise UsageError(f"{images} images in {rounds} rounds is no measurement (valid: {BATCH} or more, 1 or more)")
    pictures = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), np.uint8)
    torch.set_num_threads(1)
    ways = {"whole batch": whole_batch(pictures), "image by image": image_by_image(pictures)}
    for epoch in ways.values():
        images_per_second(epoch)  # warm-up: the workers start here
    speeds = np.array([[images_per_second(epoch) for epoch in ways.values()] for _ in range(rounds)])
    ratios = speeds / speeds[:, 1:]
    return [
        Speed(way, float(np.median(mine)), float(np.median(ratio)), mine.tolist())
        for way, mine, ratio in zip(ways, speeds.T, ratios.T, strict=True)
    ]


def whole_batch(pictures: np.ndarray) -> Callable[[], Iterator[Tensor]]:
    """An epoch of batches float32 [n, 3, height, width] of uint8 [n, height, width, 3], as edgecnn trains on them."""
    images = torch.from_numpy(pictures)
    augmentation = Augmentation(shift=PIXELS)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> Iterator[Tensor]:
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            yield to_input(augmentation(images.index_select(0, chosen), generator))

    return epoch


def image_by_image(pictures: np.ndarray) -> Callable[[], Iterator[Tensor]]:
    """The same as ``whole_batch`` by torchvision's transforms, in two workers. Raises MissingExtraError."""
    try:
        from PIL import Image
        from torchvision import transforms
    except ModuleNotFoundError as error:
        raise MissingExtraError("this comparison", "torchvision", "train") from error

    class Pictures(Dataset):
        transform = transforms.Compose([
            transforms.RandomCrop(32, padding=PIXELS, fill=INPUT_OFFSET),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([INPUT_OFFSET / 255] * 3, [INPUT_DIVISOR / 255] * 3),
        ])  # fmt: skip

        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, index: int) -> Tensor:
            return self.transform(Image.fromarray(pictures[index]))

    # Started by fork where a spawned process could not be given a class from inside a function.
    loader = DataLoader(
        Pictures(), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, multiprocessing_context="fork"
    )
    return lambda: iter(loader)


def images_per_second(epoch: Callable[[], Iterator[Tensor]]) -> float:
    """The speed of one pass, from asking for the first batch to having the last."""
    start = time.perf_counter()
    count = sum(len(batch) for batch in epoch())
    return count / (time.perf_counter() - start)


def main(words: list[str] | None = None) -> int:
    """Print the measurement as a table or as JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.augmentation", description="Feed a training by turns.")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    try:
        results = measure(options.images, options.rounds)
    except EdgeCNNError as error:
        print(f"augmentation: error: {error}", file=sys.stderr)
        return error.exit_code
    rows = [
        (each.way, f"{each.images_per_second:,.0f}", f"{min(each.rounds):,.0f} to {max(each.rounds):,.0f}",
         f"{each.ratio:.2f}")
        for each in results
    ]  # fmt: skip
    document = {
        "images": options.images, "batch": BATCH, "workers": WORKERS, "threads": 1,
        "results": [asdict(each) for each in results],
    }  # fmt: skip
    print(json.dumps(document, indent=2) if options.json else table(HEADERS, rows, "lrlr"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
