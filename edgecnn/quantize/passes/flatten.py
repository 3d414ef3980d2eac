"""``flatten_order``: flatten in the order in which a channels-last tensor lies in memory."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from edgecnn.quantize.graph import add_module, module_of, shape_of


class FlattenChannelsLast(nn.Module):
    """Flatten [n, c, h, w] in the order h, w, c, which costs nothing where tensors are channels-last."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(x.permute(0, 2, 3, 1), 1)


def flatten_order(graph_module: fx.GraphModule) -> None:
    """Flatten channels-last and permute the next linear's columns to match: no TRANSPOSE is left in TFLite."""
    for node in list(graph_module.graph.nodes):
        source = node.args[0] if node.args else None
        if not (is_flatten(graph_module, node) and isinstance(source, fx.Node) and len(shape_of(source)) == 4):
            continue
        _, channels, height, width = shape_of(source)
        users = list(node.users)
        linear = module_of(graph_module, users[0]) if len(users) == 1 else None
        if not isinstance(linear, nn.Linear):
            continue
        if height * width > 1:
            columns = linear.weight.detach().view(-1, channels, height, width).permute(0, 2, 3, 1)
            linear.weight = nn.Parameter(columns.reshape(linear.out_features, -1).contiguous())
        name = add_module(graph_module, f"{node.name}_channels_last", FlattenChannelsLast())
        with graph_module.graph.inserting_before(node):
            flattened = graph_module.graph.call_module(name, (source,))
        node.replace_all_uses_with(flattened)
        graph_module.graph.erase_node(node)


def is_flatten(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    """True where all dimensions but the batch become one: a Flatten module, or flatten(x, 1)."""
    module = module_of(graph_module, node)
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    return (node.target is torch.flatten or node.target == "flatten") and node.args[1:] == (1,) and not node.kwargs
