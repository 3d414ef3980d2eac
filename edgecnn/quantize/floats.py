"""Which nodes of a graph compute in float32 when the user asks for some layers of it to do so."""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx, nn

from edgecnn.errors import UnknownNameError
from edgecnn.quantize.graph import module_of
from edgecnn.quantize.lower import IS_TENSOR
from edgecnn.quantize.passes.pool import PoolConv2d
from edgecnn.quantize.passes.separable import MERGED
from edgecnn.quantize.simulate import QuantizedConv2d, QuantizedLinear


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
        sources = set(node.all_input_nodes)
        computes = node.op != "output" and node.meta.get(IS_TENSOR, True)
        follows = not own and computes and bool(sources) and floating.keys() >= sources
        if follows or not chosen.isdisjoint(own):
            floating[node] = None
    return list(floating)


def layer_names(graph_module: fx.GraphModule, nodes: Iterable[fx.Node]) -> tuple[str, ...]:
    """Names of the user's layers that ``nodes`` compute; a merged layer has several."""
    return tuple(name for node in nodes for name in _names(graph_module, node))


def float_layers_of(graph_module: fx.GraphModule) -> tuple[str, ...]:
    """Names of the user's layers that a QDQ graph keeps in float32, in the order of execution."""
    return layer_names(
        graph_module, (node for node in graph_module.graph.nodes if not is_quantized(graph_module, node))
    )


def is_quantized(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True for a layer with int8 weights."""
    return isinstance(module_of(graph_module, node), QuantizedConv2d | QuantizedLinear)


def _names(graph_module: fx.GraphModule, node: fx.Node) -> tuple[str, ...]:
    """Names of the user's layers that a node computes; nothing for what has no weights of its own or no int8 kernel."""
    module = module_of(graph_module, node)
    if isinstance(module, PoolConv2d) or (isinstance(module, nn.Conv2d) and module.padding_mode != "zeros"):
        return ()
    return (*node.meta.get(MERGED, ()), str(node.target)) if isinstance(module, nn.Conv2d | nn.Linear) else ()
