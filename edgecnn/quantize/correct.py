"""Bias correction: what quantization shifts in the mean of a layer's output, its bias takes back.

Rounding the weights of a channel moves the mean of what it computes, the same way for every image; over the layers
such shifts add up. M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019),
section 4.2, with the means taken from calibration images.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx

from edgecnn.quantize.graph import module_of
from edgecnn.quantize.simulate import Mode, QuantizedConv2d, QuantizedLinear, set_mode


def correct_biases(graph_module: fx.GraphModule, images: Tensor) -> None:
    """Change the biases of a calibrated QDQ graph, in place, so that each layer's mean output is the float one.

    ``images`` is the network's input float32 [n, channels, height, width]. The layers are taken in the order of
    execution, each with what the corrected ones before it give. The graph is left in SIMULATE mode.
    """
    exact = copy.deepcopy(graph_module)
    set_mode(exact, Mode.OBSERVE)
    set_mode(graph_module, Mode.SIMULATE)
    float_side, quantized_side = Stepper(exact, images), Stepper(graph_module, images)
    with torch.no_grad():
        for float_node, node in zip(exact.graph.nodes, graph_module.graph.nodes, strict=True):
            wanted, found = float_side.step(float_node), quantized_side.step(node)
            layer = module_of(graph_module, node)
            if isinstance(layer, QuantizedConv2d | QuantizedLinear) and layer.bias is not None:
                channels = 1 if isinstance(layer, QuantizedConv2d) else found.ndim - 1
                others = [axis for axis in range(found.ndim) if axis != channels]
                layer.bias += (wanted - found).mean(others)
                quantized_side.env[node] = found + (wanted - found).mean(others, keepdim=True)


class Stepper(fx.Interpreter):
    """Runs a graph node by node, and forgets a value after its last use."""

    def __init__(self, graph_module: fx.GraphModule, images: Tensor) -> None:
        super().__init__(graph_module)
        self.args_iter = iter((images,))

    def step(self, node: fx.Node) -> Tensor:
        """The value of the node that comes next in the graph."""
        value: Tensor = self.run_node(node)
        self.env[node] = value
        for used in self.user_to_last_uses.get(node, []):
            del self.env[used]
        return value
