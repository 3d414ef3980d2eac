"""From uint8 images to the tensor an artifact wants.

The convention of edgecnn is ``x = (u8 - 128) / 64``. It costs nothing in int8: with scale 1/64 and zero point 0
the quantized value of a pixel is ``u8 - 128`` exactly, and zero padding is mid-grey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgecnn.errors import UsageError

INPUT_OFFSET = 128
INPUT_DIVISOR = 64

LAYOUTS = ("NHWC", "NCHW")
DTYPES = ("float32", "int8", "uint8", "int16")
TOP_BIT = np.uint8(0x80)
LARGEST_SIDE = 4096  # pixels; what a manifest or a foreign file may ask us to allocate is bounded


def check_quantization(dtype: str, scale: float, zero_point: int) -> None:
    """Raise UsageError unless real = (q - zero_point) * scale is well defined; float32 has scale 1, zero point 0."""
    if dtype not in DTYPES:
        raise UsageError(f"dtype is '{dtype}' (valid: {', '.join(DTYPES)})")
    if dtype == "float32":
        if (scale, zero_point) != (1.0, 0):
            raise UsageError(f"scale is {scale} and zero_point {zero_point}, but float32 has scale 1 and zero point 0")
        return
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"scale is {scale}, but {dtype} needs a finite scale above 0")
    limits = np.iinfo(dtype)
    if not limits.min <= zero_point <= limits.max:
        raise UsageError(f"zero_point is {zero_point}, but {dtype} holds {limits.min} to {limits.max}")


@dataclass(frozen=True)
class InputSpec:
    """The tensor an artifact takes: image size in pixels, memory layout, and how a pixel becomes a number.

    The real value is ``(u8 - offset) / divisor``; a quantized input stores ``round(real / scale) + zero_point``.
    Raises UsageError, naming the field, when the values do not fit together.
    """

    height: int
    width: int
    channels: int
    layout: str = "NHWC"
    dtype: str = "float32"
    scale: float = 1.0
    zero_point: int = 0
    offset: float = INPUT_OFFSET
    divisor: float = INPUT_DIVISOR

    def __post_init__(self) -> None:
        for name in ("height", "width", "channels"):
            if not 1 <= getattr(self, name) <= LARGEST_SIDE:
                raise UsageError(f"{name} is {getattr(self, name)} (valid: 1 to {LARGEST_SIDE})")
        if self.layout not in LAYOUTS:
            raise UsageError(f"layout is '{self.layout}' (valid: {', '.join(LAYOUTS)})")
        if not (math.isfinite(self.divisor) and self.divisor > 0 and math.isfinite(self.offset)):
            raise UsageError(f"offset is {self.offset} and divisor {self.divisor}; both finite, the divisor above 0")
        check_quantization(self.dtype, self.scale, self.zero_point)

    @cached_property
    def image(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images it takes."""
        return self.height, self.width, self.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image in the tensor, in the order of ``layout``."""
        return self.image if self.layout == "NHWC" else (self.channels, self.height, self.width)

    @cached_property
    def is_plain_shift(self) -> bool:
        """True where the quantized value of a pixel is ``u8 - 128``, as edgecnn's convention has it."""
        return self.dtype == "int8" and (self.offset, self.zero_point, self.scale * self.divisor) == (128, 0, 1.0)

    @cached_property
    def levels(self) -> np.ndarray:
        """What each of the 256 pixel values becomes in a quantized input, [256] of ``dtype``.

        Rounded half to even, and clipped to the type.
        """
        limits = np.iinfo(self.dtype)
        real = (np.arange(256) - self.offset) / self.divisor
        return np.clip(np.rint(real / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)


@dataclass(frozen=True)
class OutputSpec:
    """The scores an artifact gives: logit = (q - zero_point) * scale. Raises UsageError like InputSpec."""

    dtype: str = "float32"
    scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        check_quantization(self.dtype, self.scale, self.zero_point)

    @cached_property
    def line(self) -> tuple[np.float32, np.float32]:
        """(zero point, scale) as float32."""
        return np.float32(self.zero_point), np.float32(self.scale)


def normalize(images: np.ndarray, offset: float = INPUT_OFFSET, divisor: float = INPUT_DIVISOR) -> np.ndarray:
    """(u8 - offset) / divisor as float32, in the shape of ``images``; exact for the convention (a power of two)."""
    return (images.astype(np.float32) - np.float32(offset)) / np.float32(divisor)


def prepare(images: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The input tensor [N, *spec.shape] of type ``spec.dtype`` for images uint8 [N, height, width, channels].

    Raises UsageError when the images are not of that type and size, or there are none.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != spec.image or len(images) == 0:
        wanted = ", ".join(map(str, spec.image))
        raise UsageError(f"images are {images.dtype} {list(images.shape)}, but the artifact takes uint8 [N, {wanted}]")
    if spec.layout == "NCHW":
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if spec.dtype == "float32":
        return normalize(images, spec.offset, spec.divisor)
    if spec.is_plain_shift:
        # u8 - 128 lies in -128 .. 127. Subtracting 128 modulo 256 flips the top bit and nothing else, so the
        # bits of the int8 are those of u8 ^ 0x80: no float arithmetic, one pass over the bytes.
        return np.bitwise_xor(images, TOP_BIT).view(np.int8)
    return spec.levels[images]
