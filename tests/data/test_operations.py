"""Random operations: what each does to an image, and who undergoes which."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from edgecnn.data import operations
from edgecnn.data.augment import GREY, Augmentation
from edgecnn.data.operations import OPERATIONS, operate
from tests.data.test_augment import batch, seeded

STRENGTHS = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])


def images(channels: int = 3, side: int = 9) -> Tensor:
    return batch((len(STRENGTHS), side, side, channels))


def squares(rows: slice, columns: slice, height: int = 21, width: int = 21) -> Tensor:
    """White rectangles on grey, one for each strength."""
    result = torch.full((len(STRENGTHS), height, width, 1), GREY, dtype=torch.uint8)
    result[:, rows, columns] = 255
    return result


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_operation_gives_images_of_the_same_kind_and_nothing_at_no_strength(operation, channels: int) -> None:
    before = images(channels)
    kept = before.clone()
    after = operation(before, STRENGTHS)
    assert (after.dtype, after.shape) == (torch.uint8, before.shape)
    assert before.equal(kept)
    assert after[2].equal(before[2])
    if operation is not operations.saturation or channels > 1:
        assert all(not after[place].equal(before[place]) for place in (0, 4))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
def test_an_image_does_not_depend_on_its_neighbours(operation) -> None:
    whole, strengths = batch((40, 8, 10, 3)), torch.linspace(-1, 1, 40)
    alone = operation(whole[7:8], strengths[7:8])
    assert operation(whole, strengths)[7:8].equal(alone)


def test_brightness_is_that_of_pillow() -> None:
    before = images()
    for image, factor, after in zip(before, 1 + 0.7 * STRENGTHS, operations.brightness(before, STRENGTHS), strict=True):
        expected = np.array(ImageEnhance.Brightness(Image.fromarray(image.numpy())).enhance(float(factor)), int)
        assert np.abs(expected - after.numpy()).max() <= 1  # Pillow cuts off, we round


def test_contrast_and_saturation_blend_with_the_mean_and_with_grey() -> None:
    before = images().float()
    factor = (1 + 0.7 * STRENGTHS)[:, None, None, None]
    for operation, origin in (
        (operations.contrast, before.mean((1, 2, 3), keepdim=True)), (operations.saturation, before.mean(3, True)),
    ):  # fmt: skip
        expected = (origin + factor * (before - origin)).clamp(0, 255)
        after = operation(before.to(torch.uint8), STRENGTHS)
        assert (after.float() - expected).abs().max() <= 0.501


def test_posterize_and_solarize_are_those_of_pillow() -> None:
    before = images()
    for operation, theirs in (
        (operations.posterize, lambda image, s: ImageOps.posterize(image, 8 - math.ceil(4 * abs(s)))),
        (operations.solarize, lambda image, s: ImageOps.solarize(image, 255 - int(128 * abs(s)) + 1)),
    ):
        after = operation(before, STRENGTHS)
        for image, strength, found in zip(before, STRENGTHS.tolist(), after, strict=True):
            assert np.array_equal(np.array(theirs(Image.fromarray(image.numpy()), strength)), found.numpy())


def test_a_rotation_turns_by_30_degrees_at_most_whatever_the_sides() -> None:
    for height, width in ((41, 41), (41, 61)):
        before = squares(slice(19, 22), slice(width // 2 + 9, width // 2 + 12), height, width)
        angles = [direction(image) for image in operations.rotate(before, STRENGTHS)]
        assert angles == pytest.approx([-30, -15, 0, 15, 30], abs=1.0) or angles == pytest.approx(
            [30, 15, 0, -15, -30], abs=1.0
        )
        assert [distance(image) for image in operations.rotate(before, STRENGTHS)] == pytest.approx([10] * 5, abs=0.3)


def centre(image: Tensor) -> tuple[float, float]:
    """Where the white of an image [h, w, 1] is, from its middle: down and right."""
    weight = image[..., 0].double() - GREY
    height, width = weight.shape
    down = (weight.sum(1) * (torch.arange(height) - (height - 1) / 2)).sum() / weight.sum()
    right = (weight.sum(0) * (torch.arange(width) - (width - 1) / 2)).sum() / weight.sum()
    return float(down), float(right)


def direction(image: Tensor) -> float:
    down, right = centre(image)
    return math.degrees(math.atan2(down, right))


def distance(image: Tensor) -> float:
    return math.hypot(*centre(image))


def test_a_shear_moves_rows_or_columns_the_further_out_the_more() -> None:
    rows = operations.shear_rows(squares(slice(29, 32), slice(29, 32), 41, 61), STRENGTHS)
    columns = operations.shear_columns(squares(slice(29, 32), slice(29, 32), 61, 41), STRENGTHS)
    for found, along, across in ((rows, 1, 0), (columns, 0, 1)):
        moved = [centre(image)[along] for image in found]
        assert [abs(place - moved[2]) for place in moved] == pytest.approx([3, 1.5, 0, 1.5, 3], abs=0.1)
        assert (moved[0] - moved[2]) * (moved[4] - moved[2]) < 0, "both ways"
        assert [centre(image)[across] for image in found] == pytest.approx([10] * 5, abs=0.1)


def test_what_comes_from_beyond_the_border_is_grey() -> None:
    white = torch.full((5, 31, 31, 3), 255, dtype=torch.uint8)
    for operation in (operations.rotate, operations.shear_rows, operations.shear_columns):
        after = operation(white, STRENGTHS)
        assert (after[[0, 4]] == GREY).any((1, 2, 3)).all()
        assert (after >= GREY).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_each_image_undergoes_its_own_and_a_ninth_of_them_nothing(channels: int) -> None:
    before = batch((900, 8, 8, channels))
    kept = before.clone()
    after = operate(before, 1, seeded())
    assert (after.dtype, after.shape) == (torch.uint8, before.shape)
    assert before.equal(kept)
    untouched = (after == before).flatten(1).all(1).float().mean()
    expected = 2 / 9 if channels == 1 else 1 / 9  # saturation changes nothing in one channel
    assert expected - 0.04 < untouched < expected + 0.08
    more = (operate(before, 3, seeded()) == before).flatten(1).all(1).float().mean()
    assert more < untouched


def test_every_operation_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def marking(number: int) -> operations.Operation:
        return lambda images, strength: torch.full_like(images, number) + (strength > 0)[:, None, None, None]

    monkeypatch.setattr(operations, "OPERATIONS", tuple(marking(10 * number) for number in range(1, 9)))
    found = operate(batch((4000, 2, 2, 1)), 1, seeded())[:, 0, 0, 0]
    counts = [int((found == 10 * number + sign).sum()) for number in range(1, 9) for sign in (0, 1)]
    assert all(160 < count < 290 for count in counts), counts  # 4000 / 18 = 222


def test_operations_come_after_the_flip_and_before_the_square_that_is_hidden() -> None:
    before, generator = batch((64, 6, 6, 3)), seeded(7)
    whole = Augmentation(shift=2, flip=True, cutout=3, operations=2)(before, seeded(7))
    steps = operate(Augmentation(shift=2, flip=True)(before, generator), 2, generator)
    assert whole.equal(Augmentation(shift=0, flip=False, cutout=3)(steps, generator))
