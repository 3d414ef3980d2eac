"""Images to input tensors, and the errors of specs that make no sense."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.errors import UsageError
from edgecnn.runtime.preprocess import InputSpec, OutputSpec, normalize, prepare

# Every pixel value once, in each place a value can stand: [1, 16, 16, 1].
LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def general(dtype: str, scale: float, zero_point: int, offset: float = 128, divisor: float = 64) -> np.ndarray:
    """The definition, written out one pixel at a time in exact Python arithmetic."""
    limits = np.iinfo(dtype)
    levels = [round((pixel - offset) / divisor / scale) + zero_point for pixel in range(256)]
    return np.array([min(max(level, limits.min), limits.max) for level in levels], dtype).reshape(LEVELS.shape)


def test_normalize_is_the_convention() -> None:
    assert normalize(np.array([0, 64, 128, 255], np.uint8)).tolist() == [-2.0, -1.0, 0.0, 1.984375]


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "offset", "divisor"),
    [
        ("int8", 1 / 64, 0, 128, 64),  # the convention: the fast path
        ("int8", 1 / 64, 1, 128, 64),  # one step off it, clipped at the top
        ("int8", 1 / 32, 0, 128, 64),  # every second value is a tie: half to even
        ("uint8", 1 / 64, 128, 128, 64),
        ("int16", 2 / 32767, 0, 128, 64),
        ("int8", 1.0, -128, 0, 1),  # raw pixels, as MLPerf Tiny wants them
        ("int8", 0.0123, 7, 127.5, 127.5),
    ],
)
def test_quantized_inputs_follow_the_definition(
    dtype: str, scale: float, zero_point: int, offset: float, divisor: float
) -> None:
    spec = InputSpec(16, 16, 1, "NHWC", dtype, scale, zero_point, offset, divisor)
    tensor = prepare(LEVELS, spec)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor, general(dtype, scale, zero_point, offset, divisor))


def test_nchw_moves_channels_first_and_is_contiguous() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    tensor = prepare(images, InputSpec(3, 4, 3, "NCHW"))
    assert tensor.shape == (2, 3, 3, 4)
    assert tensor.flags.c_contiguous
    assert tensor[1, 2, 0, 3] == (float(images[1, 0, 3, 2]) - 128) / 64


def test_images_are_not_changed() -> None:
    images = LEVELS.copy()
    prepare(images, InputSpec(16, 16, 1, "NHWC", "int8", 1 / 64, 0))
    np.testing.assert_array_equal(images, LEVELS)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 5, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.float32),
        np.zeros((0, 4, 4, 3), np.uint8),
    ],
    ids=["size", "one image without a batch", "float", "none"],
)
def test_wrong_images_are_refused(images: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"the artifact takes uint8 \[N, 4, 4, 3\]"):
        prepare(images, InputSpec(4, 4, 3))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("height", {"height": 0}),
        ("width", {"width": 10**9}),
        ("layout", {"layout": "HWC"}),
        ("dtype", {"dtype": "int4"}),
        ("scale", {"dtype": "int8", "scale": 0.0}),
        ("scale", {"dtype": "int8", "scale": float("nan")}),
        ("scale", {"dtype": "float32", "scale": 0.5}),
        ("zero_point", {"dtype": "int8", "zero_point": 128}),
        ("divisor", {"divisor": 0}),
    ],
)
def test_a_spec_that_makes_no_sense_names_the_field(field: str, changes: dict) -> None:
    with pytest.raises(UsageError, match=field) as caught:
        InputSpec(**({"height": 4, "width": 4, "channels": 3} | changes))
    assert "\n" not in str(caught.value)


def test_output_spec_is_checked_too() -> None:
    with pytest.raises(UsageError, match="zero_point"):
        OutputSpec("uint8", 0.5, -1)
