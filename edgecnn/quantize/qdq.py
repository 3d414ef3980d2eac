"""Where quantizers go: one per tensor of the folded graph, shared where integers only move or are averaged.

Layers may be kept float32: a tensor that only they make and take has no quantizer, and a converter puts QUANTIZE and
DEQUANTIZE where the others begin.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.quantize.fold import finish, is_relu, module_of
from edgecnn.quantize.passes.columns import GroupColumns, UngroupColumns
from edgecnn.quantize.passes.flatten import FlattenChannelsLast, is_flatten
from edgecnn.quantize.passes.pool import GlobalMean, PoolConv2d
from edgecnn.quantize.passes.separable import MERGED
from edgecnn.quantize.simulate import (
    ActivationQuantizer,
    Affine,
    AverageQuantizer,
    Border,
    QuantizedConv2d,
    QuantizedLinear,
)
from edgecnn.runtime.preprocess import INPUT_DIVISOR

# uint8 pixels less 128, over 64: the grid of the input is the pixels themselves.
INPUT_AFFINE = Affine(1 / INPUT_DIVISOR, 0)
# Prescribed by the TFLite 8-bit quantization specification.
FIXED: dict[type, Affine] = {nn.Tanh: Affine(1 / 128, 0), nn.Sigmoid: Affine(1 / 256, -128)}
SHARES_INPUT = (nn.AvgPool2d, nn.MaxPool2d, FlattenChannelsLast, GroupColumns, UngroupColumns)
ADDITIONS = (operator.add, torch.add)
LARGEST_BIAS = 2**30  # steps of an int32, with as much again for the sum it is added to


def insert_quantizers(graph_module: fx.GraphModule, float_layers: Iterable[str] = ()) -> fx.GraphModule:
    """Turn a folded graph into a QDQ graph, in place, in OBSERVE mode.

    A layer or addition whose only user is a ReLU is quantized after it: the runtime fuses the two. ``float_layers``
    are modules that stay float32, see ``float_nodes``. Raises UsageError naming the node for an operation that is not
    known to have an int8 kernel, UnknownNameError like ``float_nodes``.
    """
    floating = set(float_nodes(graph_module, float_layers))
    for node in graph_module.graph.nodes:
        module = module_of(graph_module, node)
        if node in floating:
            continue
        if isinstance(module, nn.Conv2d):
            QuantizedConv2d.adopt(module)
        elif isinstance(module, nn.Linear):
            QuantizedLinear.adopt(module)

    quantizer_of: dict[fx.Node, str] = {}
    for node in list(graph_module.graph.nodes):
        if node.op == "output" or fuses_into_relu(graph_module, node):
            continue
        source = node.args[0] if node.args else None
        inherited = quantizer_of.get(source) if isinstance(source, fx.Node) else None
        owner = name = _quantizer_for(graph_module, node, inherited, node in floating)
        quantizer_of[node] = owner
        users = [user for user in node.users if user not in floating]
        if node in floating:
            users = [user for user in users if user.op != "output"]
            if users:
                border = _insert(graph_module, node, f"border_{node.name}", Border(), users)
                _insert(graph_module, border, owner, None, users)
            continue
        floats = [user for user in node.users if user in floating]
        average = None
        if isinstance(module_of(graph_module, node), nn.AvgPool2d):
            quantizer = graph_module.get_submodule(owner)
            assert isinstance(quantizer, ActivationQuantizer)
            name, average = f"quantizer_{node.name}", AverageQuantizer(quantizer)
        quantized = _insert(graph_module, node, name, average, [*users, *floats])
        quantizer_of[quantized] = owner
        if floats:
            border = _insert(graph_module, quantized, f"border_{node.name}", Border(), floats)
            quantizer_of[border] = owner
    return finish(graph_module)


def _insert(
    graph_module: fx.GraphModule, node: fx.Node, name: str, module: nn.Module | None, users: Iterable[fx.Node]
) -> fx.Node:
    """Call a module, which is added unless it is there, on what ``node`` gives, on the way to ``users``."""
    if module is not None:
        graph_module.add_submodule(name, module)
    with graph_module.graph.inserting_after(node):
        called = graph_module.graph.call_module(name, (node,))
    for user in users:
        user.replace_input_with(node, called)
    return called


def float_nodes(graph_module: fx.GraphModule, float_layers: Iterable[str]) -> list[fx.Node]:
    """The nodes of a folded graph, in order, that compute in float32 when the layers ``float_layers`` do.

    These are the convolutions and linears of that name, and what has no weights of its own and takes nothing but what
    float nodes give. A layer that a pass merged into another is known by its own name too. Raises UnknownNameError for
    a name of no layer.
    """
    chosen = set(float_layers)
    names = {node: _names(graph_module, node) for node in graph_module.graph.nodes}
    valid = [name for found in names.values() for name in found]
    for name in sorted(chosen.difference(valid)):
        raise UnknownNameError("layer", name, valid)
    floating: dict[fx.Node, None] = {}
    for node, own in names.items():
        sources = node.all_input_nodes
        follows = not own and node.op != "output" and bool(sources) and floating.keys() >= set(sources)
        if follows or not chosen.isdisjoint(own):
            floating[node] = None
    return list(floating)


def float_layers_of(graph_module: fx.GraphModule) -> tuple[str, ...]:
    """Names of the user's layers that a QDQ graph keeps in float32, in the order of execution."""
    return layer_names(
        graph_module, (node for node in graph_module.graph.nodes if not _is_quantized(graph_module, node))
    )


def layer_names(graph_module: fx.GraphModule, nodes: Iterable[fx.Node]) -> tuple[str, ...]:
    """Names of the user's layers that ``nodes`` compute; a merged layer has several."""
    return tuple(name for node in nodes for name in _names(graph_module, node))


@dataclass(frozen=True)
class Borders:
    """What a QDQ graph says of the file that is made of it.

    ``floats`` are the modules with float32 weights; so often are values quantized, and dequantized, on the way between
    those and the others.
    """

    floats: frozenset[str]
    quantized: int
    dequantized: int


def borders_of(graph_module: fx.GraphModule) -> Borders:
    """Where int8 meets float32 in a QDQ graph."""
    nodes = list(graph_module.graph.nodes)
    weighted = [node for node in nodes if isinstance(module_of(graph_module, node), nn.Conv2d | nn.Linear)]
    crossings = [node for node in nodes if isinstance(module_of(graph_module, node), Border)]
    inwards = sum(
        isinstance(module_of(graph_module, next(iter(node.users))), ActivationQuantizer) for node in crossings
    )
    floats = frozenset(str(node.target) for node in weighted if not _is_quantized(graph_module, node))
    return Borders(floats, inwards, len(crossings) - inwards)


def _is_quantized(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(module_of(graph_module, node), QuantizedConv2d | QuantizedLinear)


def _names(graph_module: fx.GraphModule, node: fx.Node) -> tuple[str, ...]:
    """Names of the user's layers that a node computes; nothing for what has no weights of its own."""
    module = module_of(graph_module, node)
    if not isinstance(module, nn.Conv2d | nn.Linear) or isinstance(module, PoolConv2d):
        return ()
    return (*node.meta.get(MERGED, ()), str(node.target))


def _quantizer_for(graph_module: fx.GraphModule, node: fx.Node, inherited: str | None, floating: bool) -> str:
    """Name of the quantizer of ``node``'s output: its input's own where it only moves or averages integers."""
    module = module_of(graph_module, node)
    if isinstance(module, SHARES_INPUT) or is_flatten(graph_module, node):
        assert inherited is not None
        return inherited
    fixed = INPUT_AFFINE if node.op == "placeholder" else FIXED.get(type(module))
    weighted = isinstance(module, nn.Conv2d | nn.Linear)
    own_range = (
        floating or weighted or isinstance(module, GlobalMean) or is_relu(graph_module, node) or _is_addition(node)
    )
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
