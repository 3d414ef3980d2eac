"""A model's own normalization of its input, made part of its first layer.

The model sees x * factor + shift of edgecnn's input x, channel by channel. A convolution takes in both exactly, but
for its padding: zeros around the normalized image are not zeros around x. So there are three forms:

    folded    into weights and bias of the first convolution; it has no padding, or no shift
    ones      the image gets a channel of a constant, whose weights carry the shift; the convolution's padding
              surrounds it with zeros as well, which makes the border exact. The value is the largest that an image
              has and there are as many such channels as keep the weights that carry the shift from being larger than
              those of the image, whose int8 steps they would set. They are made by a 1x1 convolution that leaves the
              pixels as they are, in int8 to the last bit
    layer     a 1x1 depthwise convolution, where the image does not go to one plain convolution
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from edgecnn.models import ModelArguments
from edgecnn.models.normalization import Normalization
from edgecnn.quantize.graph import finish, held_batchnorm, insert_after, mark_batchnorm, module_of, only_user
from edgecnn.quantize.layers import Scale, ZeroPad
from edgecnn.quantize.qdq import INPUT_AFFINE
from edgecnn.quantize.simulate import QMAX

FORM = "edgecnn.normalization"  # key in GraphModule.meta
NAME = "normalization"
LARGEST = INPUT_AFFINE.scale * (QMAX - INPUT_AFFINE.zero_point)  # value of an image


class OnesChannel(nn.Conv2d):
    """[n, c, h, w] to [n, c + ``ones``, h, w]: the image, and channels of a constant, which is LARGEST and not 1."""

    def __init__(self, channels: int, ones: int) -> None:
        super().__init__(channels, channels + ones, 1)
        self.keeps_grid = True  # what comes out lies on the grid of what went in
        self.weight = nn.Parameter(torch.eye(channels + ones, channels)[:, :, None, None])
        self.bias = nn.Parameter(torch.tensor([0.0] * channels + [LARGEST] * ones))
        self.requires_grad_(False)  # training would move the pixels off their grid


def form_of(graph_module: fx.GraphModule) -> str:
    """In which form the normalization is: folded, ones or layer; empty where the model has none."""
    return str(graph_module.meta.get(FORM, ""))


def fold_normalization(graph_module: fx.GraphModule, normalization: Normalization, arguments: ModelArguments) -> None:
    """Put the normalization at the start of a folded graph, in the cheapest form that is exact."""
    factor = torch.tensor(normalization.factor)
    shift = torch.tensor(normalization.shift)
    image = next(node for node in graph_module.graph.nodes if node.op == "placeholder")
    first, padded = only_user(image), False
    if isinstance(module_of(graph_module, first), ZeroPad):
        assert first is not None
        first, padded = only_user(first), True
    layer = module_of(graph_module, first)
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1 or layer.padding_mode != "zeros":
        form = "layer"
        insert_after(graph_module, image, NAME, Scale(factor, shift))
    elif (layer.padding in ((0, 0), "valid") and not padded) or not shift.any():
        form = "folded"
        _fold(layer, factor, shift)
    else:
        form = "ones"
        wider = _with_ones(layer, factor, shift)
        ones = wider.in_channels - layer.in_channels
        if held_batchnorm(layer):
            mark_batchnorm(wider)
        graph_module.set_submodule(str(first.target), wider)  # type: ignore[union-attr]
        insert_after(graph_module, image, NAME, OnesChannel(arguments.in_channels, ones))
    graph_module.meta[FORM] = form
    finish(graph_module)


def _fold(layer: nn.Conv2d, factor: Tensor, shift: Tensor) -> None:
    bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    weight = layer.weight.detach()
    layer.bias = nn.Parameter(bias + (weight * shift.reshape(1, -1, 1, 1)).sum((1, 2, 3)))
    layer.weight = nn.Parameter(weight * factor.reshape(1, -1, 1, 1))


def _with_ones(layer: nn.Conv2d, factor: Tensor, shift: Tensor) -> nn.Conv2d:
    """The same convolution over the image and channels of LARGEST, of which there are at most as many as colors."""
    weight = layer.weight.detach()
    scaled = weight * factor.reshape(1, -1, 1, 1)
    shifts = (weight * shift.reshape(1, -1, 1, 1)).sum(1, keepdim=True) / LARGEST
    times = shifts.abs().amax((1, 2, 3)) / scaled.abs().amax((1, 2, 3)).clamp(min=torch.finfo(torch.float32).tiny)
    ones = 1 + sum(float(times.max()) > fewer for fewer in range(1, layer.in_channels))
    wider = nn.Conv2d(
        layer.in_channels + ones, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,  # type: ignore[arg-type]
        bias=layer.bias is not None,
    )  # fmt: skip
    wider.weight = nn.Parameter(torch.cat([scaled, *[shifts / ones] * ones], 1))
    if layer.bias is not None:
        wider.bias = nn.Parameter(layer.bias.detach().clone())
    return wider
