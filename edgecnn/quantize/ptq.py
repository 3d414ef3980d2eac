"""Post-training quantization: calibrate the QDQ graph on training images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgecnn.data.augment import to_input
from edgecnn.errors import BadFileError
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes
from edgecnn.quantize.adaround import adapt_rounding
from edgecnn.quantize.correct import correct_biases
from edgecnn.quantize.fold import fold
from edgecnn.quantize.qdq import PREFIX, fit_biases, insert_quantizers
from edgecnn.quantize.ranges import take_ranges, tighten_ranges
from edgecnn.quantize.recipe import STATIC_W8A8, Recipe
from edgecnn.quantize.simulate import ActivationQuantizer, Mode, set_mode

PIXELS_AT_ONCE = 512 * 32 * 32
FEWEST_AT_ONCE = 32


def calibrate(
    model: nn.Module,
    arguments: ModelArguments,
    images: Iterable[np.ndarray],
    rewrites: Iterable[str],
    recipe: Recipe = STATIC_W8A8,
    *,
    float_layers: Iterable[str] = (),
    ranges: fx.GraphModule | None = None,
) -> fx.GraphModule:
    """The QDQ graph of ``model`` for ``recipe``, one of SIMULATED, in SIMULATE mode.

    ``images`` are batches uint8 [n, height, width, channels] of training images. Ranges that hold all values are
    shrunk where cutting off loses less than rounding, weights of less than 8 bits are rounded as their layers need it,
    and biases take back what all this shifts (``benchmarks/calibration.py`` measures each).
    ``rewrites`` are names of passes, ``float_layers`` of modules that stay float32. ``ranges`` is a graph that this
    function gave for the same model and rewrites without float layers: its ranges are taken instead of looked for,
    which takes most of the time. Raises BadFileError naming the first tensor that is not finite, UnknownNameError for
    a name of no pass or layer.
    """
    batches = [torch.from_numpy(batch) for batch in images]
    if ranges is None:
        graph_module = observe(model, arguments, map(to_input, batches), rewrites, recipe, float_layers)
        tighten_ranges(graph_module, map(to_input, batches))
    else:
        graph_module = _inserted(model, arguments, rewrites, recipe, float_layers)
        take_ranges(graph_module, ranges)
    some = to_input(torch.cat(batches)[: _at_once(batches[0])])
    adapt_rounding(graph_module, some)
    correct_biases(graph_module, some)
    fit_biases(graph_module)
    return graph_module


def observe(
    model: nn.Module,
    arguments: ModelArguments,
    batches: Iterable[Tensor],
    rewrites: Iterable[str],
    recipe: Recipe = STATIC_W8A8,
    float_layers: Iterable[str] = (),
) -> fx.GraphModule:
    """The QDQ graph whose ranges hold all values that ``batches`` float32 [n, channels, height, width] give, and zero.

    It is left in SIMULATE mode. Raises BadFileError like ``calibrate``.
    """
    graph_module = _inserted(model, arguments, rewrites, recipe, float_layers)
    set_mode(graph_module, Mode.OBSERVE)
    with torch.no_grad():
        for batch in batches:
            graph_module(batch)
    for name, part in graph_module.named_modules():
        if isinstance(part, ActivationQuantizer) and not torch.isfinite(part.high - part.low):
            tensor = name.removeprefix(PREFIX)
            raise BadFileError(f"the output of '{tensor}' is not finite: the weights are damaged; train again")
    set_mode(graph_module, Mode.SIMULATE)
    return graph_module


def _inserted(
    model: nn.Module,
    arguments: ModelArguments,
    rewrites: Iterable[str],
    recipe: Recipe,
    float_layers: Iterable[str],
) -> fx.GraphModule:
    return insert_quantizers(passes.apply(fold(model, arguments), rewrites, arguments), recipe, float_layers)


def _at_once(images: Tensor) -> int:
    """How many images layers are looked at on: a layer's output for all of them is in memory at once."""
    return max(FEWEST_AT_ONCE, PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
