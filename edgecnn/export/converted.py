"""Recipes that work on the finished float TFLite file, through ai-edge-quantizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgecnn.errors import UsageError
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.export.quiet import captured
from edgecnn.quantize.recipe import Recipe
from edgecnn.runtime.internals import tensor_values
from edgecnn.runtime.preprocess import normalize


def convert(float_file: bytes, recipe: Recipe, images: Iterable[np.ndarray]) -> bytes:
    """The float TFLite file quantized by ``recipe``; ``images`` uint8 [n, height, width, channels] calibrate it.

    Raises UsageError for a recipe of another kind, CheckFailedError if the quantizer fails.
    """
    with captured(f"the quantization by {recipe.name}"):
        from ai_edge_quantizer import quantizer

        work = quantizer.Quantizer(float_file, _rules(recipe))
        ranges = _ranges(float_file, images) if recipe.calibrated else None
        return bytes(work.quantize(ranges, enable_progress_report=False).quantized_model)


def _rules(recipe: Recipe) -> list[dict[str, Any]]:
    from ai_edge_quantizer import recipe as known
    from ai_edge_quantizer.recipe_manager import RecipeManager

    match recipe.name:
        case "static_w8a16":
            return list(known.static_wi8_ai16())
        case "dynamic_w8":
            return list(known.dynamic_wi8_afp32())
        case "weight_w8":
            return list(known.weight_only_wi8_afp32())
        case "float16":
            manager = RecipeManager()
            casting = known.AlgorithmName.FLOAT_CASTING
            manager.add_weight_only_config(".*", known.TFLOperationName.ALL_SUPPORTED, 16, algorithm_key=casting)
            return list(manager.get_quantization_recipe())
    raise UsageError(f"recipe {recipe.name} does not start from a float file")


def _ranges(float_file: bytes, images: Iterable[np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Smallest and largest value of every activation, by tensor name.

    The quantizer's own calibration takes moving averages of them, which cuts off the largest: with 16 bits there is
    no reason to, and it cost depthwise 7 % of its agreement.
    """
    graph = TFLiteGraph(float_file)
    names = graph.activations()
    found: dict[int, tuple[float, float]] = {}
    for batch in images:
        for index, value in tensor_values(float_file, normalize(batch), list(names)).items():
            low, high = found.get(index, (0.0, 0.0))
            found[index] = (min(low, float(value.min())), max(high, float(value.max())))
    return {
        names[index]: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for index, (low, high) in found.items()
    }
