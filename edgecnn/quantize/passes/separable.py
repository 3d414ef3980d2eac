"""``merge_separable``: depthwise and pointwise convolution on the image as one."""

from __future__ import annotations

import torch
from torch import fx, nn

from edgecnn.quantize.graph import held_batchnorm, mark_batchnorm, module_of

MERGED = "edgecnn.merged"  # key in Node.meta: names of the layers that went into this one
FEW_CHANNELS = 4  # a depthwise kernel computes at least 8 at a time


def merge_separable(graph_module: fx.GraphModule) -> None:
    """A depthwise convolution on few channels and the pointwise one right after it become one dense convolution."""
    for node in list(graph_module.graph.nodes):
        point = module_of(graph_module, node)
        depth = module_of(graph_module, node.args[0]) if node.args else None
        if not (_is_pointwise(point) and _is_depthwise(depth) and len(node.args[0].users) == 1):
            continue
        assert isinstance(depth, nn.Conv2d) and isinstance(point, nn.Conv2d)
        if depth.in_channels > FEW_CHANNELS or depth.padding_mode != "zeros":
            continue
        before = node.args[0]
        node.meta[MERGED] = (*before.meta.get(MERGED, ()), str(before.target))
        graph_module.set_submodule(str(node.target), _merged(depth, point))
        before.replace_all_uses_with(before.args[0])
        graph_module.graph.erase_node(before)


def _is_depthwise(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels


def _is_pointwise(module: nn.Module | None) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.stride, module.padding, module.groups) == ((1, 1), (1, 1), (0, 0), 1)
    )  # fmt: skip


def _merged(depth: nn.Conv2d, point: nn.Conv2d) -> nn.Conv2d:
    """point(depth(x)) as one convolution: w[o, i] = point[o, i] * depth[i], b = point.b + point @ depth.b."""
    merged = nn.Conv2d(depth.in_channels, point.out_channels, (depth.kernel_size[0], depth.kernel_size[1]))
    merged.stride, merged.padding, merged.dilation = depth.stride, depth.padding, depth.dilation
    mix = point.weight.detach()[:, :, 0, 0]
    bias = torch.zeros(point.out_channels) if point.bias is None else point.bias.detach()
    if depth.bias is not None:
        bias = bias + mix @ depth.bias.detach()
    merged.weight = nn.Parameter(mix[:, :, None, None] * depth.weight.detach()[None, :, 0])
    merged.bias = nn.Parameter(bias)
    if held_batchnorm(point):
        mark_batchnorm(merged)
    return merged
