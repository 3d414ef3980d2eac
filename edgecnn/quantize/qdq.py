"""Where quantizers go: one per tensor of the folded graph, shared where integers only move or are averaged.

An operation without an int8 kernel stays float: what it takes is dequantized, what it gives is quantized again, and
``float_operations`` names it. So do layers that the user wants in float32, with all that follows from them: a tensor
that only they make and take has no quantizer, and a Border stands where the others begin.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn

from edgecnn.errors import CheckFailedError
from edgecnn.quantize.floats import float_nodes, is_quantized
from edgecnn.quantize.graph import add_module, finish, is_relu, module_of, only_user, shape_of, source_of
from edgecnn.quantize.layers import (
    ChannelShuffle,
    GlobalMean,
    MeanOfBoth,
    Permute,
    Reshape,
    Scale,
    Slice,
    UnitClamp,
    WithMirrorImage,
    ZeroPad,
)
from edgecnn.quantize.lower import IS_TENSOR
from edgecnn.quantize.passes.columns import GroupColumns, UngroupColumns
from edgecnn.quantize.passes.flatten import FlattenChannelsLast, is_flatten
from edgecnn.quantize.passes.pool import is_plain
from edgecnn.quantize.recipe import STATIC_W8A8, Recipe
from edgecnn.quantize.simplify import pair
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
# Prescribed by the TFLite 8-bit quantization specification; a clamp to 0..1 is done by its grid's ends.
FIXED: dict[type, Affine] = {
    nn.Tanh: Affine(1 / 128, 0), nn.Sigmoid: Affine(1 / 256, -128), UnitClamp: Affine(1 / 255, -128),
}  # fmt: skip
SHARES_INPUT = (
    nn.AvgPool2d, nn.MaxPool2d, ZeroPad, FlattenChannelsLast, GroupColumns, UngroupColumns, ChannelShuffle, Slice,
    Reshape, Permute, WithMirrorImage,
)  # fmt: skip
OWN_RANGE = (QuantizedConv2d, QuantizedLinear, GlobalMean, MeanOfBoth, nn.Hardswish, nn.LeakyReLU, nn.GELU)
ADDITIONS = (operator.add, torch.add)
ARITHMETIC = (*ADDITIONS, operator.sub, operator.mul)
LARGEST_BIAS = 2**30  # steps of an int32, with as much again for the sum it is added to
PREFIX = "quantizer_"
FLOAT, JOINED = "edgecnn.float_operations", "edgecnn.joined_quantizers"  # keys in GraphModule.meta


def insert_quantizers(
    graph_module: fx.GraphModule, recipe: Recipe = STATIC_W8A8, float_layers: Iterable[str] = ()
) -> fx.GraphModule:
    """Turn a folded graph into a QDQ graph of ``recipe``, in place, in OBSERVE mode.

    A layer or addition whose only user is a ReLU is quantized after it: the runtime fuses the two. The tensors that
    a concatenation joins, and the result, have one quantizer. ``float_layers`` are modules that stay float32. Raises
    UnknownNameError for a name of no layer.
    """
    floating = set(float_nodes(graph_module, float_layers))
    for node in graph_module.graph.nodes:
        module = module_of(graph_module, node)
        if node in floating:
            continue
        if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
            QuantizedConv2d.adopt(module)
        elif isinstance(module, nn.Linear):
            QuantizedLinear.adopt(module)

    for node in graph_module.graph.nodes:
        clamp, source = module_of(graph_module, node), source_of(node)
        if isinstance(clamp, UnitClamp) and source is not None:
            clamp.in_layer = source not in floating and fuses_into_relu(graph_module, source)
    nodes = [node for node in graph_module.graph.nodes if node.op != "output"]
    floats = {node for node in nodes if node not in floating and not _has_kernel(graph_module, node)}
    quantizer_of: dict[fx.Node, str] = {}
    for node in nodes:
        users = [user for user in node.users if user.op != "output"]
        stays_float = node in floats and bool(users) and all(user in floats or user in floating for user in users)
        if fuses_into_relu(graph_module, node) or stays_float or not node.meta.get(IS_TENSOR, True):
            continue
        if node in floating:
            quantizer_of[node] = _quantizer_for(graph_module, node, quantizer_of)
            taking = [user for user in users if user not in floating and user not in floats]
            if taking:
                border = _border(graph_module, node, node.name, taking)
                quantized = _called_after(graph_module, border, quantizer_of[node], taking)
                quantizer_of[quantized] = quantizer_of[node]
            continue
        if node in floats and not users:
            continue  # the logits themselves
        owner = _quantizer_for(graph_module, node, quantizer_of)
        name = owner
        if isinstance(module_of(graph_module, node), nn.AvgPool2d) and node not in floats:
            average = AverageQuantizer(_activation(graph_module, owner))
            name = add_module(graph_module, f"{PREFIX}{node.name}", average)
        quantized = _called_after(graph_module, node, name, list(node.users))
        quantizer_of[quantized] = owner
        leaving = [user for user in users if user in floating]
        if leaving:
            quantizer_of[_border(graph_module, quantized, node.name, leaving)] = owner
    graph_module.meta[JOINED] = _join_concatenated(graph_module, quantizer_of)
    graph_module.meta[FLOAT] = [_described(graph_module, node) for node in nodes if node in floats and _counts(node)]
    _choose_weight_bits(graph_module, recipe)
    return finish(graph_module)


def _choose_weight_bits(graph_module: fx.GraphModule, recipe: Recipe) -> None:
    """Weights of fewer than 8 bits are for the layers that hold most of them and lose least by it.

    Layers that no other leads to, or that lead to no other, and depthwise convolutions keep 8: together they are a
    hundredth of the bytes of the models that ship and most of the loss (``benchmarks/low_bits.py`` measures it), and
    only at 8 bits does LiteRT's delegate take them. So do other grouped convolutions.
    """
    nodes = list(graph_module.graph.nodes)
    modules = {node: module_of(graph_module, node) for node in nodes}
    dense = {
        node: module
        for node, module in modules.items()
        if isinstance(module, QuantizedLinear) or (isinstance(module, QuantizedConv2d) and _joins_channels(module))
    }
    later = _reached(dense, nodes, lambda node: node.all_input_nodes)
    earlier = _reached(dense, reversed(nodes), lambda node: node.users)
    for node, layer in dense.items():
        if node in later and node in earlier:
            layer.weight_bits = recipe.weight_bits


def _reached(
    start: Container[fx.Node], nodes: Iterable[fx.Node], sources: Callable[[fx.Node], Iterable[fx.Node]]
) -> set[fx.Node]:
    """Those of ``nodes`` that one comes to from ``start``; the ``sources`` of each are before it."""
    reached: set[fx.Node] = set()
    for node in nodes:
        if any(each in start or each in reached for each in sources(node)):
            reached.add(node)
    return reached


def _joins_channels(layer: QuantizedConv2d) -> bool:
    """False for one that is grouped, as depthwise ones are, be it on a single channel, or only hands an image on."""
    return layer.groups == 1 and max(layer.in_channels, layer.out_channels) > 1 and not hasattr(layer, "keeps_grid")


def _border(graph_module: fx.GraphModule, node: fx.Node, name: str, users: Iterable[fx.Node]) -> fx.Node:
    """A Border on what ``node`` gives, on the way to ``users``."""
    return _called_after(graph_module, node, add_module(graph_module, f"border_{name}", Border()), users)


def _called_after(graph_module: fx.GraphModule, node: fx.Node, name: str, users: Iterable[fx.Node]) -> fx.Node:
    """A call of the module ``name`` on what ``node`` gives, which ``users`` take instead."""
    with graph_module.graph.inserting_after(node):
        called = graph_module.graph.call_module(name, (node,))
    for user in users:
        user.replace_input_with(node, called)
    return called


def float_operations(graph_module: fx.GraphModule) -> list[str]:
    """The operations of a QDQ graph that have no int8 kernel and stay float, as 'name (kind)'."""
    return list(graph_module.meta.get(FLOAT, ()))


def joined_quantizers(graph_module: fx.GraphModule) -> dict[str, str]:
    """Quantizers that a QDQ graph is without since another has their place, that of what is joined; both by name."""
    return dict(graph_module.meta.get(JOINED, {}))


def without_kernel(graph_module: fx.GraphModule) -> list[str]:
    """The operations of a float graph that have no int8 kernel, as 'name (kind)'."""
    nodes = (node for node in graph_module.graph.nodes if _counts(node) and not _has_kernel(graph_module, node))
    return [_described(graph_module, node) for node in nodes]


def _has_kernel(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    module = module_of(graph_module, node)
    if node.op == "placeholder" or is_relu(graph_module, node) or is_flatten(graph_module, node):
        return True
    if isinstance(module, nn.AvgPool2d):
        return is_plain(module)
    if isinstance(module, nn.MaxPool2d):
        return pair(module.dilation) == (1, 1)
    if isinstance(module, nn.Conv2d):
        return module.padding_mode == "zeros"
    if isinstance(module, nn.Linear):
        return True
    if isinstance(module, nn.Module):
        return isinstance(module, (*SHARES_INPUT, *OWN_RANGE, *FIXED)) or hasattr(module, "keeps_grid")
    if node.op == "call_function" and node.target in ARITHMETIC:
        return len(node.all_input_nodes) == len(set(node.args)) and all(isinstance(each, fx.Node) for each in node.args)
    return node.op == "call_function" and node.target is torch.cat


def _quantizer_for(graph_module: fx.GraphModule, node: fx.Node, quantizer_of: dict[fx.Node, str]) -> str:
    """Name of the quantizer of ``node``'s output: its input's own where it only moves or averages integers."""
    module = module_of(graph_module, node)
    source = node.args[0] if node.args else None
    inherited = quantizer_of.get(source) if isinstance(source, fx.Node) else None
    moves = isinstance(module, SHARES_INPUT) or is_flatten(graph_module, node) or hasattr(module, "keeps_grid")
    if inherited is not None and moves:
        return inherited
    fixed = INPUT_AFFINE if node.op == "placeholder" else FIXED.get(type(module))
    return add_module(graph_module, f"{PREFIX}{node.name}", ActivationQuantizer(fixed))


def _join_concatenated(graph_module: fx.GraphModule, quantizer_of: dict[fx.Node, str]) -> dict[str, str]:
    """One quantizer for all that a concatenation joins: its integers are copied. Gives ``joined_quantizers``.

    A tensor whose grid is fixed keeps it, and a 1x1 depthwise convolution brings it onto the common grid: of two
    quantizers in a row the converter would drop one. ``quantizer_of`` has, for each quantized node, the name of the
    quantizer whose grid it is on.
    """
    stands_for: dict[str, str] = {}

    def current(name: str) -> str:
        while name in stands_for:
            name = stands_for[name]
        return name

    for node in list(graph_module.graph.nodes):
        joined = node.op == "call_function" and node.target is torch.cat
        if not joined or not isinstance(module_of(graph_module, only_user(node)), ActivationQuantizer):
            continue
        own = current(str(next(iter(node.users)).target))
        for part in node.all_input_nodes:
            name = current(quantizer_of[part])
            if _activation(graph_module, name).fixed is None:
                if name != own:
                    stands_for[name] = own
                continue
            moved = _moved(graph_module, part)
            with graph_module.graph.inserting_after(moved):
                node.replace_input_with(part, graph_module.graph.call_module(own, (moved,)))
    for node, owner in quantizer_of.items():
        if isinstance(module_of(graph_module, node), AverageQuantizer):
            graph_module.set_submodule(str(node.target), AverageQuantizer(_activation(graph_module, current(owner))))
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            node.target = current(str(node.target))
    return {name: current(name) for name in stands_for}


def _activation(graph_module: fx.GraphModule, name: str) -> ActivationQuantizer:
    quantizer = graph_module.get_submodule(name)
    assert isinstance(quantizer, ActivationQuantizer)
    return quantizer


def _moved(graph_module: fx.GraphModule, part: fx.Node) -> fx.Node:
    """A layer that gives the quantized tensor ``part`` as it is. Raises CheckFailedError where there is none."""
    source = _behind(graph_module, part, (ActivationQuantizer, AverageQuantizer, Border))
    shape = shape_of(source) if source is not None else ()
    layer: QuantizedConv2d | QuantizedLinear
    if len(shape) == 4:
        layer = QuantizedConv2d.adopt(Scale(torch.ones(shape[1]), torch.zeros(shape[1])))
    elif len(shape) == 2:
        layer = QuantizedLinear.adopt(nn.Linear(shape[1], shape[1]))
        layer.weight, layer.bias = nn.Parameter(torch.eye(shape[1])), nn.Parameter(torch.zeros(shape[1]))
    else:
        raise CheckFailedError(
            f"what '{source}' gives has an int8 grid of its own and {len(shape)} dimensions, and so cannot be joined "
            "with others; join it while it is an image, or leave this recipe out"
        )
    layer.requires_grad_(False)
    # Called the same whether columns were grouped or not, since training does without that.
    named = _behind(graph_module, part, (ActivationQuantizer, AverageQuantizer, Border, UngroupColumns))
    with graph_module.graph.inserting_after(part):
        return graph_module.graph.call_module(add_module(graph_module, f"{named}_moved", layer), (part,))


def _behind(graph_module: fx.GraphModule, node: fx.Node | None, kinds: tuple[type, ...]) -> fx.Node | None:
    """``node``, or the first that it comes from that calls none of ``kinds``."""
    while node is not None and isinstance(module_of(graph_module, node), kinds):
        node = source_of(node)
    return node


def boundaries_of(graph_module: fx.GraphModule) -> int:
    """How many tensors of a QDQ graph are quantized out of float, the image aside."""
    pairs = [(source_of(node), module_of(graph_module, node)) for node in graph_module.graph.nodes]
    sources = [source for source, module in pairs if source and isinstance(module, ActivationQuantizer)]
    return sum(each.op != "get_attr" and not _has_kernel(graph_module, each) for each in sources)


@dataclass(frozen=True)
class Borders:
    """What a QDQ graph says of the file that is made of it.

    Layers with float32 and with int8 weights, by the names of their modules; how often values are quantized, the image
    aside; and how often dequantized, None where ``float_operations`` do that without a Border.
    """

    floats: frozenset[str]
    integers: frozenset[str]
    quantized: int
    dequantized: int | None


def borders_of(graph_module: fx.GraphModule) -> Borders:
    """Where int8 meets float32 in a QDQ graph."""
    nodes = list(graph_module.graph.nodes)
    weighted = [node for node in nodes if isinstance(module_of(graph_module, node), nn.Conv2d | nn.Linear)]
    integers = frozenset(str(node.target) for node in weighted if is_quantized(graph_module, node))
    floats = frozenset(str(node.target) for node in weighted if _has_kernel(graph_module, node)) - integers
    outwards = [
        node for node in nodes if isinstance(module_of(graph_module, node), Border) and not _enters(graph_module, node)
    ]
    dequantized = None if float_operations(graph_module) else len(outwards)
    return Borders(floats, integers, boundaries_of(graph_module), dequantized)


def _enters(graph_module: fx.GraphModule, border: fx.Node) -> bool:
    return isinstance(module_of(graph_module, only_user(border)), ActivationQuantizer)


def _counts(node: fx.Node) -> bool:
    """False for what computes nothing of an image: weights, and the parts of a result."""
    taken_apart = node.target is operator.getitem and not node.args[0].meta.get(IS_TENSOR, True)  # type: ignore[union-attr]
    return node.op in ("call_module", "call_function", "call_method") and not taken_apart


def _described(graph_module: fx.GraphModule, node: fx.Node) -> str:
    module = module_of(graph_module, node)
    kind = getattr(node.target, "__name__", node.target) if module is None else type(module).__name__
    return f"{node.target if module is not None else node.name} ({kind})"


def _is_addition(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in ADDITIONS


def fuses_into_relu(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True for a layer or addition whose only user is a ReLU or clamp, which the runtime computes with it."""
    user = only_user(node)
    if user is None or not (is_relu(graph_module, user) or isinstance(module_of(graph_module, user), UnitClamp)):
        return False
    return isinstance(module_of(graph_module, node), nn.Conv2d | nn.Linear) or _is_addition(node)


def fit_biases(graph_module: fx.GraphModule) -> None:
    """Make of every bias what the file holds of it, a whole number of steps in int32; called after calibration.

    A step is input scale times weight scale. A channel that training has switched off has weights of almost nothing
    and a bias that is not, which the file would cut off: its weight scale is raised. The steps this adds to the weights
    are worth at most 2^-24 of the bias.
    """
    for node in graph_module.graph.nodes:
        layer = module_of(graph_module, node)
        if isinstance(layer, QuantizedConv2d | QuantizedLinear) and layer.bias is not None:
            quantizer = module_of(graph_module, node.args[0])
            assert isinstance(quantizer, ActivationQuantizer | AverageQuantizer)
            bias, scale = layer.bias.detach().double(), quantizer.affine().scale
            smallest = bias.abs() / (scale * LARGEST_BIAS)
            layer.smallest_scales = torch.maximum(layer.smallest_scales, smallest.float())
            step = scale * layer.weight_scales().double()
            layer.bias.data.copy_(torch.round(bias / step) * step)
