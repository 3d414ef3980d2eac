"""Quantization recipes, named by one grammar: ``METHOD_wBITS[aBITS]`` or ``floatBITS``.

    static_w8a8   weights and activations int8, ranges found by calibration
    static_w4a8   the same with weights of 4 bits, -7 to 7; the first, the last and grouped layers' have 8
    static_w8a16  weights int8, activations int16, ranges found by calibration
    dynamic_w8    weights int8, activations float outside and int8 inside each layer, ranges found at run time
    weight_w8     weights int8 on disk, computed in float
    float16       weights float16 on disk, computed in float
    float32       nothing quantized

A file or table always shows the whole name: "int8" alone would not say which of these it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.errors import UnknownNameError

CALIBRATION_IMAGES = 512  # training images that ranges are found with, unless told otherwise


@dataclass(frozen=True)
class Recipe:
    """What is quantized, how, and to how many bits (``activation_bits`` is 32 where activations stay float)."""

    name: str
    method: str
    weight_bits: int
    activation_bits: int

    @property
    def calibrated(self) -> bool:
        """True if it needs images to find the ranges of activations."""
        return self.method == "static"

    @property
    def simulated(self) -> bool:
        """True if it is our own graph, of which PyTorch knows every grid (``quantize/qdq.py``)."""
        return self in SIMULATED


FLOAT32 = Recipe("float32", "float", 32, 32)
STATIC_W8A8 = Recipe("static_w8a8", "static", 8, 8)
STATIC_W4A8 = Recipe("static_w4a8", "static", 4, 8)
SIMULATED = (STATIC_W8A8, STATIC_W4A8)
QUANTIZED = (
    *SIMULATED,
    Recipe("static_w8a16", "static", 8, 16),
    Recipe("dynamic_w8", "dynamic", 8, 32),
    Recipe("weight_w8", "weight", 8, 32),
    Recipe("float16", "float", 16, 32),
)


# What other tools call them, for whom a number of bits is a recipe.
OTHERS_SAY = {"int8": STATIC_W8A8.name, "int4": STATIC_W4A8.name, "int16": "static_w8a16", "fp16": "float16"}


def parse(name: str) -> Recipe:
    """The quantizing recipe called ``name``. Raises UnknownNameError listing the valid ones."""
    for recipe in QUANTIZED:
        if recipe.name == name:
            return recipe
    raise UnknownNameError("recipe", name, [recipe.name for recipe in QUANTIZED], OTHERS_SAY.get(name))
