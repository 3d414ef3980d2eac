"""Augmentation of whole batches against a plain image-by-image reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from edgecnn.data.augment import GREY, Augmentation, cutout, flip, shift, to_input
from edgecnn.errors import UsageError
from edgecnn.runtime.preprocess import normalize

SHAPES = [(300, 8, 8, 3), (50, 7, 12, 1), (1, 5, 5, 3)]


def batch(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Noise without grey, so that what was filled in is seen."""
    values = np.random.default_rng(seed).integers(0, 255, shape, np.uint8)
    return torch.from_numpy(values + (values >= GREY))


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """One image [h, w, c] moved pixel by pixel, with grey where nothing came from."""
    height, width, _ = image.shape
    result = np.full_like(image, GREY)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[y, x] = image[y - down, x - right]
    return result


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pixels", [1, 2])
def test_each_image_is_moved_whole_within_the_limit(shape: tuple[int, ...], pixels: int) -> None:
    images = batch(shape)
    result = shift(images, pixels, seeded())
    reach = range(-pixels, pixels + 1)
    offsets = []
    for before, after in zip(images.numpy(), result.numpy(), strict=True):
        found = [(down, right) for down in reach for right in reach if (moved(before, down, right) == after).all()]
        assert len(found) == 1
        offsets += found
    if len(images) > 200:
        assert set(offsets) == {(down, right) for down in reach for right in reach}, "every offset, both ways"


def test_a_shift_beyond_the_image_leaves_grey() -> None:
    result = shift(batch((200, 3, 3, 1)), 9, seeded())
    assert ((result == GREY).flatten(1).all(1)).any()
    assert (result != GREY).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_about_half_of_the_images_are_mirrored(shape: tuple[int, ...]) -> None:
    images = batch(shape)
    result = flip(images, seeded())
    mirrored = [bool((after == before.flip(1)).all()) for before, after in zip(images, result, strict=True)]
    kept = [bool((after == before).all()) for before, after in zip(images, result, strict=True)]
    assert [one != other for one, other in zip(mirrored, kept, strict=True)] == [True] * len(images)
    if len(images) > 200:
        assert 0.4 < np.mean(mirrored) < 0.6


@pytest.mark.parametrize(("side", "full"), [(3, 3), (4, 4), (1, 1)])
def test_cutout_greys_a_square_clipped_at_the_border_and_nothing_else(side: int, full: int) -> None:
    images = batch((400, 9, 10, 3))
    result = cutout(images, side, seeded())
    sizes = set()
    for before, after in zip(images.numpy(), result.numpy(), strict=True):
        hidden = (after == GREY).all(-1)
        assert (after[~hidden] == before[~hidden]).all()
        rows, columns = np.flatnonzero(hidden.any(1)), np.flatnonzero(hidden.any(0))
        assert hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "one rectangle"
        assert hidden.sum() == len(rows) * len(columns)
        assert len(rows) == full or rows[0] == 0 or rows[-1] == 8
        assert len(columns) == full or columns[0] == 0 or columns[-1] == 9
        sizes.add((len(rows), len(columns)))
    assert max(sizes) == (full, full)


@pytest.mark.parametrize(
    "augment",
    [
        lambda images, generator: shift(images, 4, generator),
        flip,
        lambda images, generator: cutout(images, 3, generator),
        Augmentation(shift=2, flip=True, cutout=2),
        Augmentation(shift=0, flip=False, cutout=0),
    ],
    ids=["shift", "flip", "cutout", "all", "nothing"],
)
def test_uint8_in_and_out_the_input_untouched_and_the_generator_alone_decides(
    augment: Callable[[Tensor, Generator], Tensor],
) -> None:
    images = batch((64, 6, 6, 3))
    kept = images.clone()
    torch.manual_seed(1)
    first = augment(images, seeded(5))
    assert (first.dtype, first.shape) == (torch.uint8, images.shape)
    assert images.equal(kept)
    torch.manual_seed(2)
    assert augment(images, seeded(5)).equal(first)
    if augment != Augmentation(0, False, 0):
        assert not augment(images, seeded(6)).equal(first)


def test_order_is_shift_then_flip_then_cutout() -> None:
    images, generator = batch((64, 6, 6, 3)), seeded(7)
    expected = cutout(flip(shift(images, 2, generator), generator), 3, generator)
    assert Augmentation(shift=2, flip=True, cutout=3)(images, seeded(7)).equal(expected)


def test_the_numbers_drawn_stay_those_that_recorded_commands_drew() -> None:
    images = torch.arange(6 * 5 * 5, dtype=torch.uint8).view(6, 5, 5, 1)
    result = Augmentation(shift=1, flip=True, cutout=2)(images, seeded(11))
    weights = torch.arange(1, images[0].numel() + 1)
    assert (result.flatten(1).long() * weights).sum(1).tolist() == [18868, 19781, 24924, 36848, 39701, 42584]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"shift": -1}, "cannot be negative"), ({"cutout": -2}, "cannot be negative"),
        ({"shift": 257}, "shift is 257, but moves images by up to 256 pixels"),
    ],
)  # fmt: skip
def test_pixels_that_are_none_or_would_fill_the_memory_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Augmentation(**settings)


def test_the_input_convention_is_exact_for_every_pixel_value() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(2, 8, 8, 2)
    kept = images.clone()
    result = to_input(images)
    assert (result.dtype, result.shape) == (torch.float32, (2, 2, 8, 8))
    assert result.is_contiguous(memory_format=torch.channels_last)
    expected = (np.arange(256) - 128) / 64
    np.testing.assert_array_equal(result.permute(0, 2, 3, 1).flatten().numpy(), expected)
    np.testing.assert_array_equal(result.permute(0, 2, 3, 1).numpy(), normalize(images.numpy()))
    assert images.equal(kept)
