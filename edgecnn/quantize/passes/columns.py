"""``pair_columns`` and ``quad_columns``: neighbouring pixels share one step of a convolution on few channels."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from edgecnn.quantize.graph import add_module, is_relu, module_of, shape_of

FEW_CHANNELS = 4
FEW_FILTERS = 8  # two pixels' worth of output channels fill one vector of 16


class _Columns(nn.Module):
    """What takes or gives groups of ``count`` neighbouring pixels."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count


class GroupColumns(_Columns):
    """[n, c, h, w] to [n, kc, h, w/k]: k = ``count`` neighbouring pixels become one of k times the channels, in order.

    In channels-last memory this moves nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        grouped = x.permute(0, 2, 3, 1).reshape(-1, height, width // self.count, self.count * channels)
        return grouped.permute(0, 3, 1, 2)


class UngroupColumns(_Columns):
    """The inverse of GroupColumns."""

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        single = x.permute(0, 2, 3, 1).reshape(-1, height, self.count * width, channels // self.count)
        return single.permute(0, 3, 1, 2)


def pair_columns(graph_module: fx.GraphModule) -> None:
    """A convolution on few channels computes two neighbouring pixels at once.

    Integer kernels pad the input channels of each tap to 8 and the output channels to 16; with 3 and 6 of them most
    of the work is on zeros. Over pairs of pixels a 5x5 kernel has 5x3 taps instead of 5x5, at half as many places.
    """
    _group_columns(graph_module, 2, "pair")


def quad_columns(graph_module: fx.GraphModule) -> None:
    """A convolution on few channels computes four neighbouring pixels at once, where no tap is partly empty.

    ARM cores without a dot product multiply 16 input channels of a tap at a time: 4 pixels of 3 channels nearly fill
    them. It pays where an unpadded kernel reads whole groups, as 5 columns for 4 pixels do: 8 pixels are 2 groups. A
    convolution that becomes one of these is none for ``pair_columns`` any more.
    """
    _group_columns(graph_module, 4, "quad")


def _group_columns(graph_module: fx.GraphModule, count: int, word: str) -> None:
    found = []
    for node in graph_module.graph.nodes:
        convolution = module_of(graph_module, node)
        if isinstance(convolution, nn.Conv2d) and _of_layers_alone(node.args[0]):
            grouped = _grouped(convolution, shape_of(node.args[0])[3], shape_of(node)[3], count)
            if grouped is not None:
                found.append((node, grouped))
    for node, grouped in found:
        graph_module.set_submodule(str(node.target), grouped)
        group = add_module(graph_module, f"{node.name}_{word}", GroupColumns(count))
        ungroup = add_module(graph_module, f"{node.name}_un{word}", UngroupColumns(count))
        with graph_module.graph.inserting_before(node):
            groups = graph_module.graph.call_module(group, (node.args[0],))
        node.args = (groups,)
        last = _activation_after(graph_module, node)
        with graph_module.graph.inserting_after(last):
            pixels = graph_module.graph.call_module(ungroup, (last,))
        for user in [user for user in last.users if user is not pixels]:
            user.replace_input_with(last, pixels)


def _of_layers_alone(tensor: fx.Node) -> bool:
    """True for an image that comes from a layer, or is the model's own, and that only layers take.

    The converter keeps what additions and concatenations take or give in an order in which columns are no neighbours.
    """
    return all(node.op in ("placeholder", "call_module") for node in (tensor, *tensor.users))


def _grouped(convolution: nn.Conv2d, width: int, width_out: int, count: int) -> nn.Conv2d | None:
    """The same convolution over groups of ``count`` columns, or None where that is not possible or gains nothing."""
    kernel_height, kernel = convolution.kernel_size
    pad_height, pad = convolution.padding if isinstance(convolution.padding, tuple) else (-1, -1)
    plain = (convolution.stride, convolution.dilation, convolution.groups) == ((1, 1), (1, 1), 1)
    plain = plain and convolution.padding_mode == "zeros"
    small = convolution.in_channels <= FEW_CHANNELS and convolution.out_channels <= FEW_FILTERS
    if not (plain and small and pad >= 0 and kernel > 1 and width % count == width_out % count == 0):
        return None
    # The group at p reads pixels kp - pad .. kp + k - 2 + kernel - pad, which lie in groups p + first .. p + last.
    first, last = -pad // count, (count - 2 + kernel - pad) // count
    groups = last - first + 1
    whole = groups * count == count - 1 + kernel
    if width // count - 2 * first - groups + 1 != width_out // count or not (whole or count == 2):
        return None
    channels, filters = convolution.in_channels, convolution.out_channels
    grouped = nn.Conv2d(count * channels, count * filters, (kernel_height, groups), padding=(pad_height, -first))
    weight = torch.zeros_like(grouped.weight)
    for j in range(count):  # which pixel of the output group
        for group in range(groups):
            for i in range(count):  # which pixel of the input group
                tap = count * (group + first) + i - j + pad
                if 0 <= tap < kernel:
                    block = convolution.weight.detach()[:, :, :, tap]
                    weight[j * filters : (j + 1) * filters, i * channels : (i + 1) * channels, :, group] = block
    grouped.weight = nn.Parameter(weight)
    bias = torch.zeros(filters) if convolution.bias is None else convolution.bias.detach()
    grouped.bias = nn.Parameter(bias.repeat(count))
    return grouped


def _activation_after(graph_module: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The activation that is the only user of ``node``, so that the two stay together, else ``node`` itself."""
    users = list(node.users)
    if len(users) == 1:
        only = users[0]
        if is_relu(graph_module, only) or isinstance(module_of(graph_module, only), nn.Tanh):
            return only
    return node
