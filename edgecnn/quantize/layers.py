"""Layers that stand for what models write with functions: each a module, so that a graph of few kinds is enough.

All take images [n, channels, height, width] with any n, and lie well in channels-last memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GlobalMean(nn.Module):
    """Average over height and width: [n, c, h, w] to [n, c, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class Reshape(nn.Module):
    """[n, ...] to [n, *shape]."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape)


class Permute(nn.Module):
    """Dimensions in the order ``dims``, of which the first stays."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)


class Slice(nn.Module):
    """Every ``step``-th value from ``start`` to before ``stop`` along dimension ``dim``."""

    def __init__(self, dim: int, start: int, stop: int, step: int = 1) -> None:
        super().__init__()
        self.key = (*[slice(None)] * dim, slice(start, stop, step))

    def forward(self, x: Tensor) -> Tensor:
        return x[self.key]


class ChannelShuffle(nn.Module):
    """Channel j of group i becomes channel i of group j (Zhang et al. 2018)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        apart = x.permute(0, 2, 3, 1).reshape(-1, height, width, self.groups, channels // self.groups)
        return apart.transpose(3, 4).reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def _normalized(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """x less its mean over ``dims``, divided by its deviation there."""
    centred = x - x.mean(dims, keepdim=True)
    return centred * torch.rsqrt((centred * centred).mean(dims, keepdim=True) + eps)


class LayerNorm(nn.LayerNorm):
    """torch's, written out: the converter would take the means over all images at once.

    With ``over_channels`` it normalizes [n, c, h, w] along c, for which models turn their images and back.
    """

    over_channels = False

    def forward(self, x: Tensor) -> Tensor:
        dims = (1,) if self.over_channels else tuple(range(-len(self.normalized_shape), 0))
        result = _normalized(x, dims, self.eps)
        for value, function in ((self.weight, torch.mul), (self.bias, torch.add)):
            if value is not None:
                result = function(result, value.view(-1, 1, 1) if self.over_channels else value)
        return result


class GroupNorm(nn.GroupNorm):
    """torch's, written out as LayerNorm is; with a group for each channel it is InstanceNorm."""

    def forward(self, input: Tensor) -> Tensor:
        shape = input.shape[1:]  # of an image, tokens, or the channels alone
        groups = input.reshape(-1, self.num_groups, math.prod(shape) // self.num_groups)
        result = _normalized(groups, (2,), self.eps).reshape(-1, *shape)
        each = (-1, *[1] * (len(shape) - 1))
        return result * self.weight.view(each) + self.bias.view(each) if self.affine else result


class ELU(nn.ELU):
    """torch's without a choice between two values: the converter makes an operation of that which no device may run."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.relu(input) - self.alpha * torch.relu(1 - torch.exp(input))


class UnitClamp(nn.Module):
    """Values below 0 become 0, above 1 become 1: what a hard sigmoid is behind a layer that scales by 1/6.

    Where it is computed with the layer before it (``in_layer``), the quantizer that follows does it in an exported
    file (``exported``): its grid ends at 0 and 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_layer = False
        self.exported = False

    def forward(self, x: Tensor) -> Tensor:
        return x if self.in_layer and self.exported else torch.clamp(x, 0, 1)


class ZeroPad(nn.Module):
    """Zeros around the image: ``left``, ``right``, ``top`` and ``bottom`` pixels of them.

    Padded as rows of whole pixels: of four dimensions the converter would make two TRANSPOSEs.
    """

    def __init__(self, left: int, right: int, top: int, bottom: int) -> None:
        super().__init__()
        self.sides = left, right, top, bottom

    def forward(self, x: Tensor) -> Tensor:
        left, right, top, bottom = self.sides
        _, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, height, width * channels)
        padded = F.pad(rows, (left * channels, right * channels, top, bottom))
        return padded.reshape(-1, height + top + bottom, width + left + right, channels).permute(0, 3, 1, 2)


class WithMirrorImage(nn.Module):
    """[n, c, h, w] to [2n, c, h, w]: behind each image the same, turned left to right.

    Joined along the height of rows of whole pixels, where either image is one piece of memory: any n will do, and
    nothing moves but what is turned.
    """

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1)
        both = torch.cat([rows, rows.flip(2)], 1)
        return both.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


class MeanOfBoth(nn.Module):
    """[2n, k] to [n, k]: the mean of the logits of an image and those of its mirror image behind it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 2, x.shape[1]).mean(1)


class Scale(nn.Conv2d):
    """Every channel times a factor, plus a shift: a depthwise 1x1 convolution, which has integer kernels."""

    def __init__(self, factor: Tensor, shift: Tensor) -> None:
        super().__init__(len(factor), len(factor), 1, groups=len(factor))
        self.weight = nn.Parameter(factor.detach().reshape(-1, 1, 1, 1).clone())
        self.bias = nn.Parameter(shift.detach().reshape(-1).clone())
