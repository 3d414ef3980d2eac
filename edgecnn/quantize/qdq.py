"""Where quantizers go: one per tensor of the folded graph, shared where integers only move or are averaged."""

from __future__ import annotations

import operator

import torch
from torch import fx, nn

from edgecnn.errors import UsageError
from edgecnn.quantize.fold import finish, is_relu, module_of
from edgecnn.quantize.passes.columns import GroupColumns, UngroupColumns
from edgecnn.quantize.passes.flatten import FlattenChannelsLast, is_flatten
from edgecnn.quantize.passes.pool import GlobalMean
from edgecnn.quantize.simulate import ActivationQuantizer, Affine, AverageQuantizer, QuantizedConv2d, QuantizedLinear
from edgecnn.runtime.preprocess import INPUT_DIVISOR

# uint8 pixels less 128, over 64: the grid of the input is the pixels themselves.
INPUT_AFFINE = Affine(1 / INPUT_DIVISOR, 0)
# Prescribed by the TFLite 8-bit quantization specification.
FIXED: dict[type, Affine] = {nn.Tanh: Affine(1 / 128, 0), nn.Sigmoid: Affine(1 / 256, -128)}
SHARES_INPUT = (nn.AvgPool2d, nn.MaxPool2d, FlattenChannelsLast, GroupColumns, UngroupColumns)
OWN_RANGE = (QuantizedConv2d, QuantizedLinear, GlobalMean)
ADDITIONS = (operator.add, torch.add)
LARGEST_BIAS = 2**30  # steps of an int32, with as much again for the sum it is added to


def insert_quantizers(graph_module: fx.GraphModule) -> fx.GraphModule:
    """Turn a folded graph into a QDQ graph, in place, in OBSERVE mode.

    A layer or addition whose only user is a ReLU is quantized after it: the runtime fuses the two. Raises UsageError
    naming the node for an operation that is not known to have an int8 kernel.
    """
    for module in graph_module.modules():
        if isinstance(module, nn.Conv2d):
            QuantizedConv2d.adopt(module)
        elif isinstance(module, nn.Linear):
            QuantizedLinear.adopt(module)

    quantizer_of: dict[fx.Node, str] = {}
    for node in list(graph_module.graph.nodes):
        if node.op == "output" or fuses_into_relu(graph_module, node):
            continue
        source = node.args[0] if node.args else None
        owner = _quantizer_for(graph_module, node, quantizer_of.get(source) if isinstance(source, fx.Node) else None)
        name = owner
        if isinstance(module_of(graph_module, node), nn.AvgPool2d):
            name = f"quantizer_{node.name}"
            quantizer = graph_module.get_submodule(owner)
            assert isinstance(quantizer, ActivationQuantizer)
            graph_module.add_submodule(name, AverageQuantizer(quantizer))
        with graph_module.graph.inserting_after(node):
            quantized = graph_module.graph.call_module(name, (node,))
        for user in [user for user in node.users if user is not quantized]:
            user.replace_input_with(node, quantized)
        quantizer_of[quantized] = owner
    return finish(graph_module)


def _quantizer_for(graph_module: fx.GraphModule, node: fx.Node, inherited: str | None) -> str:
    """Name of the quantizer of ``node``'s output: its input's own where it only moves or averages integers."""
    module = module_of(graph_module, node)
    if isinstance(module, SHARES_INPUT) or is_flatten(graph_module, node):
        assert inherited is not None
        return inherited
    fixed = INPUT_AFFINE if node.op == "placeholder" else FIXED.get(type(module))
    own_range = isinstance(module, OWN_RANGE) or is_relu(graph_module, node) or _is_addition(node)
    if fixed is None and not own_range:
        kind = getattr(node.target, "__name__", node.target) if module is None else type(module).__name__
        raise UsageError(f"operation '{node.name}' ({kind}) of the model has no int8 form in recipe static_w8a8")
    name = f"quantizer_{node.name}"
    graph_module.add_submodule(name, ActivationQuantizer(fixed))
    return name


def _is_addition(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in ADDITIONS


def fuses_into_relu(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True for a layer or addition whose only user is a ReLU, which the runtime computes with it."""
    if len(node.users) != 1 or not is_relu(graph_module, next(iter(node.users))):
        return False
    return isinstance(module_of(graph_module, node), nn.Conv2d | nn.Linear) or _is_addition(node)


def make_room_for_biases(graph_module: fx.GraphModule) -> None:
    """Raise the weight scales of channels whose bias would not fit into int32; called after calibration.

    A bias is stored in steps of input scale times weight scale. A channel that training has switched off has weights
    of almost nothing and a bias that is not, and the file's would be cut off. The steps this adds to the weights are
    worth at most 2^-24 of the bias.
    """
    for node in graph_module.graph.nodes:
        layer = module_of(graph_module, node)
        if isinstance(layer, QuantizedConv2d | QuantizedLinear) and layer.bias is not None:
            quantizer = module_of(graph_module, node.args[0])
            assert isinstance(quantizer, ActivationQuantizer | AverageQuantizer)
            layer.smallest_scales = layer.bias.detach().abs() / (quantizer.affine().scale * LARGEST_BIAS)
