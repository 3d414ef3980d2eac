"""``flatten_order``: flatten in the order in which a channels-last tensor lies in memory."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from edgecnn.quantize.fold import module_of, shape_of


class FlattenChannelsLast(nn.Module):
    """Flatten [n, c, h, w] in the order h, w, c, which costs nothing where tensors are channels-last."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(x.permute(0, 2, 3, 1), 1)


def flatten_order(graph_module: fx.GraphModule) -> None:
    """Flatten channels-last and permute the next linear's columns to match: no TRANSPOSE is left in TFLite."""
    for node in list(graph_module.graph.nodes):
        if not _is_flatten(graph_module, node):
            continue
        source = node.args[0]
        _, channels, height, width = shape_of(source)
        users = list(node.users)
        linear = module_of(graph_module, users[0]) if len(users) == 1 else None
        if not isinstance(linear, nn.Linear):
            continue
        if height * width > 1:
            columns = linear.weight.detach().view(-1, channels, height, width).permute(0, 2, 3, 1)
            linear.weight = nn.Parameter(columns.reshape(linear.out_features, -1).contiguous())
        name = f"{node.name}_channels_last"
        graph_module.add_submodule(name, FlattenChannelsLast())
        with graph_module.graph.inserting_before(node):
            flattened = graph_module.graph.call_module(name, (source,))
        node.replace_all_uses_with(flattened)
        graph_module.graph.erase_node(node)


def _is_flatten(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    named = isinstance(module_of(graph_module, node), nn.Flatten)
    called = node.op == "call_function" and node.target is torch.flatten
    return (named or called) and len(shape_of(node.args[0])) == 4  # type: ignore[arg-type]
