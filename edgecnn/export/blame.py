"""Which layer of a TFLite file is at fault: its tensors held against those of the PyTorch graph it was made from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgecnn.data.augment import to_input
from edgecnn.export.flatbuffer import Layer, TFLiteGraph
from edgecnn.quantize.graph import module_of, values_of
from edgecnn.quantize.qdq import fuses_into_relu
from edgecnn.quantize.simulate import ActivationQuantizer, QuantizedConv2d, QuantizedLinear
from edgecnn.runtime.internals import tensor_values
from edgecnn.runtime.preprocess import InputSpec, prepare

TOLERANCE = 0.05  # of the reference's norm; rounding to 8 bits stays well below
IMAGES = 8


def layer_names(content: bytes, graph_module: fx.GraphModule) -> list[str]:
    """Module names of a TFLite file's layers in the order of execution; '?' for one that is not found."""
    return [node.target if node else "?" for node in matched(content, graph_module)]  # type: ignore[misc]


def first_fault(content: bytes, graph_module: fx.GraphModule, images: np.ndarray, spec: InputSpec) -> str:
    """A phrase naming the first layer whose output differs by more than TOLERANCE from PyTorch's, else the worst.

    ``images`` are uint8 [n, height, width, channels]; ``graph_module`` is the float or simulating graph.
    """
    images = images[:IMAGES]
    nodes = matched(content, graph_module)
    layers = list(TFLiteGraph(content).layers())
    values = tensor_values(content, prepare(images, spec), [layer.output for layer in layers])
    given = values_of(graph_module, to_input(torch.from_numpy(images)))
    errors: dict[str, float] = {}
    for node, layer in zip(nodes, layers, strict=True):
        if node is None:
            return f"a layer of the file ({layer.operation}) has weights of a size that no layer of the model has"
        expected = given[_result_of(graph_module, node)]
        if isinstance(module_of(graph_module, node), nn.Conv2d):  # a linear layer may take pixels channels-last
            expected = expected.permute(0, 2, 3, 1)
        reference = expected.numpy()
        error = values[layer.output].reshape(reference.shape) - reference
        errors[str(node.target)] = float(np.linalg.norm(error)) / max(float(np.linalg.norm(reference)), 1e-12)
    over = [name for name, error in errors.items() if not error <= TOLERANCE]
    if over:
        return f"first layer at fault: {over[0]} (relative error {errors[over[0]]:.2g})"
    if not errors:
        return "no layer has weights that could be at fault"
    worst = max(errors, key=errors.__getitem__)
    return f"no layer differs by more than {TOLERANCE:.0%}, the most is {worst} (relative error {errors[worst]:.2g})"


def matched(content: bytes, graph_module: fx.GraphModule) -> list[fx.Node | None]:
    """The graph's node of each layer in the file, found by its weights, which no conversion changes but in order.

    What is left over then, weights that are wrong, is matched by size; None where not even that is possible.
    """
    free = {node: weight for node in graph_module.graph.nodes if (weight := _weight(graph_module, node)) is not None}
    layers = list(TFLiteGraph(content).layers())
    found: list[fx.Node | None] = []
    for layer in layers:
        stored, step = _values(layer)
        distances = {
            node: float(np.max(np.abs(np.sort(weight.detach().numpy(), axis=None) - stored)))
            for node, weight in free.items()
            if weight.numel() == stored.size
        }
        nearest = min(distances, key=distances.__getitem__, default=None)
        found.append(nearest if nearest is not None and distances[nearest] <= step else None)
        if nearest is not None and found[-1] is nearest:
            del free[nearest]
    for position, layer in enumerate(layers):
        if found[position] is None:
            found[position] = next((node for node, weight in free.items() if weight.numel() == layer.weight.size), None)
            free.pop(found[position], None)
    return found


def _values(layer: Layer) -> tuple[np.ndarray, float]:
    """The layer's weights as sorted real values, and how far rounding may have moved one."""
    if not len(layer.weight_scale):
        rounding = float(np.finfo(layer.weight.dtype).eps * np.max(np.abs(layer.weight), initial=0.0))
        return np.sort(layer.weight.astype(np.float32), axis=None), max(rounding, 1e-6)
    channel_axis = 3 if layer.operation == "DEPTHWISE_CONV_2D" else 0
    shape = [1] * layer.weight.ndim
    shape[channel_axis] = -1
    real = layer.weight * layer.weight_scale.reshape(shape)
    return np.sort(real, axis=None), float(layer.weight_scale.max())


def _weight(graph_module: fx.GraphModule, node: fx.Node) -> Tensor | None:
    module = module_of(graph_module, node)
    if isinstance(module, QuantizedConv2d | QuantizedLinear):
        return module.quantized_weight()  # rounded to 4 bits, layers of one size may be more like each other than float
    return module.weight if isinstance(module, nn.Conv2d | nn.Linear) else None


def _result_of(graph_module: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The node whose value the file stores for a layer: after its fused ReLU and its quantizer."""
    if fuses_into_relu(graph_module, node):
        node = next(iter(node.users))
    users = list(node.users)
    if len(users) == 1 and isinstance(module_of(graph_module, users[0]), ActivationQuantizer):
        return users[0]
    return node
