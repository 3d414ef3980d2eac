"""``pair_columns``: neighbouring pixels share one step of a convolution on few channels."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from edgecnn.quantize.graph import is_relu, module_of, shape_of

FEW_CHANNELS = 4
FEW_FILTERS = 8  # two pixels' worth of output channels fill one vector of 16


class PairColumns(nn.Module):
    """[n, c, h, w] to [n, 2c, h, w/2]: two neighbouring pixels become one of twice the channels, first pixel first.

    In channels-last memory this moves nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        return x.permute(0, 2, 3, 1).reshape(-1, height, width // 2, 2 * channels).permute(0, 3, 1, 2)


class UnpairColumns(nn.Module):
    """The inverse of PairColumns."""

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        return x.permute(0, 2, 3, 1).reshape(-1, height, 2 * width, channels // 2).permute(0, 3, 1, 2)


def pair_columns(graph_module: fx.GraphModule) -> None:
    """A convolution on few channels computes two neighbouring pixels at once.

    Integer kernels pad the input channels of each tap to 8 and the output channels to 16; with 3 and 6 of them most
    of the work is on zeros. Over pairs of pixels a 5x5 kernel has 5x3 taps instead of 5x5, at half as many places.
    """
    found = []
    for node in graph_module.graph.nodes:
        convolution = module_of(graph_module, node)
        if isinstance(convolution, nn.Conv2d):
            paired = _paired(convolution, shape_of(node.args[0])[3], shape_of(node)[3])
            if paired is not None:
                found.append((node, paired))
    for node, paired in found:
        graph_module.set_submodule(str(node.target), paired)
        graph_module.add_submodule(f"{node.name}_pair", PairColumns())
        graph_module.add_submodule(f"{node.name}_unpair", UnpairColumns())
        with graph_module.graph.inserting_before(node):
            pairs = graph_module.graph.call_module(f"{node.name}_pair", (node.args[0],))
        node.args = (pairs,)
        last = _activation_after(graph_module, node)
        with graph_module.graph.inserting_after(last):
            pixels = graph_module.graph.call_module(f"{node.name}_unpair", (last,))
        for user in [user for user in last.users if user is not pixels]:
            user.replace_input_with(last, pixels)


def _paired(convolution: nn.Conv2d, width: int, width_out: int) -> nn.Conv2d | None:
    """The same convolution over pairs of columns, or None where that is not possible or gains nothing."""
    kernel_height, kernel = convolution.kernel_size
    pad_height, pad = convolution.padding if isinstance(convolution.padding, tuple) else (-1, -1)
    plain = (convolution.stride, convolution.dilation, convolution.groups) == ((1, 1), (1, 1), 1)
    plain = plain and convolution.padding_mode == "zeros"
    small = convolution.in_channels <= FEW_CHANNELS and convolution.out_channels <= FEW_FILTERS
    if not (plain and small and pad >= 0 and kernel > 1 and width % 2 == width_out % 2 == 0):
        return None
    # The pair at p reads pixels 2p - pad .. 2p + kernel - pad, which lie in pairs p + first .. p + last. Both widths
    # being even, the kernel is odd, and with -first pairs of padding on each side there are width_out / 2 places.
    first, last = -pad // 2, (kernel - pad) // 2
    pairs = last - first + 1
    channels, filters = convolution.in_channels, convolution.out_channels
    paired = nn.Conv2d(2 * channels, 2 * filters, (kernel_height, pairs), padding=(pad_height, -first))
    weight = torch.zeros_like(paired.weight)
    for j in range(2):  # which pixel of the output pair
        for pair in range(pairs):
            for i in range(2):  # which pixel of the input pair
                tap = 2 * (pair + first) + i - j + pad
                if 0 <= tap < kernel:
                    block = convolution.weight.detach()[:, :, :, tap]
                    weight[j * filters : (j + 1) * filters, i * channels : (i + 1) * channels, :, pair] = block
    paired.weight = nn.Parameter(weight)
    bias = torch.zeros(filters) if convolution.bias is None else convolution.bias.detach()
    paired.bias = nn.Parameter(bias.repeat(2))
    return paired


def _activation_after(graph_module: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The activation that is the only user of ``node``, so that the two stay together, else ``node`` itself."""
    users = list(node.users)
    if len(users) == 1:
        only = users[0]
        if is_relu(graph_module, only) or isinstance(module_of(graph_module, only), nn.Tanh):
            return only
    return node
