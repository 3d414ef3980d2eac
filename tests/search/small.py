"""A search that takes moments: few small images, and a space of small designs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.search import space
from edgecnn.search.space import Choice, Real, Whole

SPACE: dict[str, Choice | Whole | Real] = {
    "stem_channels": Choice((8,)), "stem_kernel": Choice((3,)), "stem_stride": Choice((2,)),
    "early_kind": Choice(("c", "r")), "early_channels": Whole(8, 24, 8), "early_depth": Whole(1, 1),
    "middle_channels": Whole(8, 24, 8), "middle_expansion": Whole(2, 3), "middle_kernel": Choice((3,)),
    "middle_depth": Whole(1, 1), "late_channels": Whole(16, 32, 8), "late_expansion": Whole(2, 3),
    "late_kernel": Choice((3, 5)), "late_depth": Whole(1, 1), "kept": Choice((1.0, 0.7, 0.5)),
}  # fmt: skip


def images(folder: Path) -> Path:
    """60 training and 15 test images of three classes, noise that is brighter at the top, at the bottom or nowhere."""
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 5)):
        for name, bright in (("bottom", slice(8, 16)), ("none", slice(0, 0)), ("top", slice(0, 8))):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 120, (16, 16), np.uint8)
                pixels[bright] += 100
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The verb with the data and settings of a small search."""
    data = images(tmp_path / "images")
    return ["search", "--data", str(data), "--image-size", "16x16x1", "--objective", "accuracy,macs", "--epochs", "2",
            "--batch-size", "16", "--validation", "0.2", "--device", "cpu"]  # fmt: skip


@pytest.fixture
def small_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process designs are small."""
    for name, values in SPACE.items():
        monkeypatch.setitem(space.SPACE, name, values)
