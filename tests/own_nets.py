"""Small models that hold what torchvision's and timm's hold; each takes images of 32x32x3 and has 4 classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn.models import ModelArguments
from edgecnn.models.registry import _in_order
from tests import nets

ARGUMENTS = ModelArguments(4, 3, (32, 32))


def norm_act(inputs: int, outputs: int, kernel: int, act: type[nn.Module], **more) -> nn.Sequential:
    """Convolution, BatchNorm and activation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **more)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), act())


class SqueezeExcite(nn.Module):
    """As in MobileNetV3, with any gate."""

    def __init__(self, channels: int, gate: type[nn.Module]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce, self.expand, self.gate = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1), gate()
        nn.init.uniform_(self.expand.weight, -40, 40)  # a hard gate is then often shut or open

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(F.relu(self.reduce(self.pool(x)))))


class Gated(nn.Module):
    """An inverted residual with hard swish and squeeze-excite, as in MobileNetV3, then one with SiLU and ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = norm_act(3, 8, 3, nn.Hardswish, stride=2)
        self.widen = norm_act(8, 16, 1, nn.Hardswish)
        self.depth = norm_act(16, 16, 5, nn.ReLU6, groups=16)
        self.excite = SqueezeExcite(16, nn.Hardsigmoid)
        self.narrow = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.second = norm_act(8, 16, 3, lambda: nn.SiLU(inplace=True), groups=4)  # type: ignore[arg-type]
        self.weigh = SqueezeExcite(16, nn.Sigmoid)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.narrow(self.excite(self.depth(self.widen(x))))
        x = F.adaptive_avg_pool2d(self.weigh(self.second(x)), 1)
        return self.head(self.drop(torch.flatten(x, 1)))


class Shuffled(nn.Module):
    """A fire module and a shuffle unit: concatenation, halves, a shuffle of channels, pools with padding and ceil."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.first = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.wide, self.narrow = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(4, 8, 1)
        self.branch = norm_act(8, 8, 3, nn.ReLU)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(self.first(F.relu(self.stem(x)))))
        x = torch.cat([F.relu(self.wide(x)), F.relu(self.narrow(x))], 1)
        left, right = x.chunk(2, dim=1)
        x = torch.cat((left, self.branch(right)), dim=1)
        count, channels, height, width = x.size()
        x = x.view(count, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        x = self.pool(x.view(count, channels, height, width))
        return self.head(x.mean([2, 3]))


class Same(nn.Module):
    """Padding computed from the size of the image, as in TensorFlow's models: torch.fx cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8)
        self.depth, self.head = nn.Conv2d(8, 8, 5, stride=2, groups=8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardtanh_(self.bn(self.stem(same(x, 3, 2))), 0, 6)
        return self.head(F.relu(self.depth(same(x, 5, 2))).mean((-1, -2)))


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """x with as much padding as a convolution needs for ceil(size / stride) places."""
    height, width = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
    if height > 0 or width > 0:
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
    return x


class Layered(nn.Module):
    """LayerNorm over channels, GELU and a factor for each channel, as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8)
        self.widen, self.narrow = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1)
        self.gamma = nn.Parameter(torch.rand(8) + 0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.narrow(F.gelu(self.widen(y))).mul(self.gamma.reshape(1, -1, 1, 1))
        return self.head((x + y).mean((2, 3)))


class Mixed(nn.Module):
    """What is left: BatchNorm first, a pool over negative values, slopes, clamps, differences, grids that differ."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(8), nn.Conv2d(3, 8, 3, padding="same")
        self.pool, self.slope, self.tanh = nn.MaxPool2d(3, 2, padding=1), nn.LeakyReLU(0.1), nn.Tanh()
        self.gate, self.last = nn.Hardsigmoid(), nn.Conv2d(16, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slope(self.bn(self.pool(self.conv(x))))
        x = torch.cat([x - self.tanh(x) * 0.5, self.gate(x)], 1)
        x = F.adaptive_avg_pool2d(self.last(x), 2)
        return self.head(x.view(x.shape[0], -1))


class Seldom(nn.Module):
    """What few write: a tensor written over and used again, shared weights, padding on one side, parts of parts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.over = nn.Conv2d(6, 8, 4, padding="same"), nn.ReLU(inplace=True)
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.two.weight = self.one.weight
        self.pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.few, self.largest = nn.Conv2d(4, 4, 3, padding=1), nn.AdaptiveMaxPool2d(1)
        self.gate, self.side, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1))
        x = self.two(F.relu(self.one(self.over(x)))) + x
        x = self.few(torch.cat(self.pool(x).chunk(4, 1)[1:3], 1))
        x = torch.flatten(self.largest(x), 1)
        return self.head(torch.cat([torch.sigmoid(self.gate(x)), self.side(x)], 1))


KINDS = (Gated, Shuffled, Same, Layered, Mixed, Seldom)


def build(kind: type[nn.Module]) -> nn.Module:
    """One of these with random weights and statistics, in evaluation mode, as ``models.create`` would hand it out."""
    torch.manual_seed(3)
    model = nets.with_statistics(kind())
    model.register_forward_pre_hook(_in_order)
    return model
