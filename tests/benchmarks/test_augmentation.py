"""The augmentation benchmark: that both ways do the same work, and what it prints; never its speed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import augmentation
from edgecnn.errors import UsageError


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("way", [augmentation.whole_batch, augmentation.image_by_image])
def test_both_ways_shift_mirror_and_normalize_every_image_once(way) -> None:
    """Each picture has a number, told by its middle, and one dark pixel, whose place tells what was done to it."""
    numbers = np.arange(300)
    pictures = np.full((300, 32, 32, 3), 200, np.uint8)
    pictures[..., 1:] = np.stack([numbers % 256, numbers // 256], -1)[:, None, None, :]
    pictures[:, 10, 20, 0] = 0
    batches = list(way(pictures)())
    assert [len(batch) for batch in batches] == [256, 44]
    values = torch.cat(batches)
    assert (values.dtype, values.shape[1:]) == (torch.float32, (3, 32, 32))
    pixels = values * 64 + 128
    found = (pixels[:, 1, 16, 16] + 256 * pixels[:, 2, 16, 16]).round().int()
    assert sorted(found.tolist()) == numbers.tolist()
    rows, columns = _dark(pixels[:, 0])
    assert set(rows.tolist()) == set(range(6, 15))
    assert set(columns.tolist()) == set(range(16, 25)) | set(range(31 - 24, 31 - 15))
    filled = (pixels - 128).abs().amax((1,)) < 0.01
    assert filled.any(), "the border is filled with grey"


def _dark(planes: Tensor) -> tuple[Tensor, Tensor]:
    places = planes.flatten(1).argmin(1)
    return places // 32, places % 32


def test_ratios_are_taken_round_by_round(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    speeds = itertools.chain([1.0, 1.0], [60.0, 10.0, 500.0, 100.0, 80.0, 10.0])
    monkeypatch.setattr(augmentation, "images_per_second", lambda epoch: next(speeds))
    assert augmentation.main(["--images", "256", "--rounds", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    ours, theirs = document["results"]
    assert (ours["way"], ours["images_per_second"], ours["ratio"]) == ("whole batch", 80.0, 6.0)
    assert ours["rounds"] == [60.0, 500.0, 80.0]
    assert (theirs["way"], theirs["images_per_second"], theirs["ratio"]) == ("image by image", 10.0, 1.0)


def test_a_real_run_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert augmentation.main(["--images", "256", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("whole batch ")
    assert lines[3].startswith("image by image ")
    assert lines[3].endswith(" 1.00")


def test_too_little_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="valid: 256 or more"):
        augmentation.measure(255, 1)
    assert augmentation.main(["--rounds", "0"]) == 2
    assert capsys.readouterr().err.startswith("augmentation: error: 20000 images in 0 rounds")
