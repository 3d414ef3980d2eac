"""The integers of a file's layers are those of the graph it was made from: each weight, each scale and each bias.

Two files may choose the same classes of nearly all images though a filter of one is lost; only the integers tell.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from torch import fx, nn

from edgecnn.errors import CheckFailedError
from edgecnn.export.blame import matched
from edgecnn.export.flatbuffer import Layer, TFLiteGraph
from edgecnn.export.parity import Gate
from edgecnn.quantize.graph import module_of
from edgecnn.quantize.simulate import QuantizedConv2d, QuantizedLinear

MAX_SCALE_ERROR = 1e-6  # relative: float32 rounding
MAX_ROUNDING = 0.501  # steps; a half may be rounded either way
MAX_BIAS_ERROR = 0.01, 1e-6  # steps, and a share of the bias: a whole number of them, as float32
_LAYOUTS = {"CONV_2D": (0, 2, 3, 1), "DEPTHWISE_CONV_2D": (1, 2, 3, 0)}  # of [out, in, height, width] in a file


def check_values(name: str, content: bytes, graph_module: fx.GraphModule) -> Gate:
    """Hold every layer with integer weights of a file against its layer in a QDQ graph in SIMULATE mode.

    Raises CheckFailedError naming the first whose weights, scales or biases are others.
    """
    free = [module for node in graph_module.graph.nodes if _is_quantized(module := module_of(graph_module, node))]
    compared = 0
    for node, layer in zip(matched(content, graph_module), TFLiteGraph(content).layers(), strict=True):
        likely = None if node is None else module_of(graph_module, node)
        if not _is_quantized(likely) or layer.weight.dtype != np.int8:
            continue
        # Layers of equal weights may stand in the file in another order, so any that is exactly the same will do.
        same = next((module for module in free if not _difference(module, layer)), None)
        if same is None:
            raise CheckFailedError(
                f"{name}: {_difference(likely, layer)} of layer {node and node.target} ({layer.operation}) are not "
                "those of the model's graph; the file would be silently wrong"
            )
        free.remove(same)
        compared += 1
    return {"exact_layers": compared}


def _is_quantized(module: nn.Module | None) -> TypeGuard[QuantizedConv2d | QuantizedLinear]:
    return isinstance(module, QuantizedConv2d | QuantizedLinear)


def _difference(module: QuantizedConv2d | QuantizedLinear, layer: Layer) -> str:
    """What of a layer differs; empty where nothing does."""
    scales = module.weight_scales().detach()
    exact = module.folded_weight().detach() / scales.view(-1, *[1] * (module.weight.dim() - 1))
    steps = exact.clamp(-module.largest, module.largest).numpy()
    if steps.ndim == 4 and layer.operation in _LAYOUTS:
        steps = steps.transpose(_LAYOUTS[layer.operation])
    if steps.size != layer.weight.size or np.abs(steps.reshape(layer.weight.shape) - layer.weight).max() > MAX_ROUNDING:
        return "weights"
    same_shape = layer.weight_scale.shape == scales.shape
    if not (same_shape and np.allclose(layer.weight_scale, scales.numpy(), rtol=MAX_SCALE_ERROR, atol=0)):
        return "scales of the weights"
    bias = np.zeros(len(scales)) if module.bias is None else module.bias.detach().numpy().astype(np.float64)
    wanted = bias / (layer.input_scale * layer.weight_scale)
    stored = layer.bias if len(layer.bias) else np.zeros(len(scales))
    step, share = MAX_BIAS_ERROR
    if stored.shape != wanted.shape or (np.abs(stored - wanted) > step + share * np.abs(wanted)).any():
        return "biases"
    return ""
