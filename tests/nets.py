"""Models and images for tests of quantization and export."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn import models
from edgecnn.data import registry
from edgecnn.data.dataset import DataSet
from edgecnn.export.drafts import Order
from edgecnn.export.judge import judge
from edgecnn.export.source import Source, find_weights

MODELS = ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8")


@cache
def digits() -> DataSet:
    """The embedded data set."""
    return registry.load("digits")


@cache
def source(model: str) -> Source:
    """The weights of a model that ship for digits, with what judging them needs."""
    return Source(*find_weights(model, digits().name), digits(), 512)


def _silent(line: str) -> None:
    pass


def judged(orders: Iterable[Order], source: Source, folder: Path, say: Callable[[str], None] = _silent) -> Any:
    """``judge``, for tests that look into results without asking first whether they are there."""
    return judge(orders, source, folder, say)


def places_in(file: Path) -> list[str]:
    """The places of this machine that a file tells: of the code that made it, and of the interpreter."""
    content = file.read_bytes()
    return [
        place for place in (str(Path.cwd()), sys.prefix, sys.base_prefix, "site-packages") if place.encode() in content
    ]


def images(count: int = 16, size: tuple[int, int, int] = (32, 32, 3), seed: int = 0) -> np.ndarray:
    """Random uint8 images."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size), np.uint8)


def inputs(*shape: int, seed: int = 0) -> Tensor:
    """Random float32, normal."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(first: Tensor, second: Tensor, tolerance: float = 1e-5) -> None:
    """Equal up to float32 rounding, relative to the largest value."""
    difference = float((first - second).detach().abs().max())
    assert difference <= tolerance * max(1.0, float(second.detach().abs().max()))


def untrained(model: str) -> nn.Module:
    """A registered model with random weights and BatchNorm statistics."""
    torch.manual_seed(1)
    return with_statistics(models.create(model))


def with_statistics(module: nn.Module) -> nn.Module:
    """Random BatchNorm statistics, as if trained; evaluation mode."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.5)
            part.running_var.uniform_(0.25, 2)
            nn.init.uniform_(part.weight, -1.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.5)
    return module.eval()


class Handwritten(nn.Module):
    """A model in the style of a tutorial: one pool and one ReLU for all, functions and methods, an in-place sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 12, 3, padding=1)
        self.conv3 = nn.Conv2d(12, 12, 3, padding=1)
        self.bn = nn.BatchNorm2d(12)
        self.pool = nn.AvgPool2d(2)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(12 * 16, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        y = self.bn(self.conv3(x))
        y += x
        x = self.pool(self.relu(y))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def switch_off(layer: nn.Module) -> None:
    """Leave the first two channels of a layer, or nearly, nothing but their biases, as training can."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    with torch.no_grad():
        layer.weight[0] = 0
        layer.weight[1] *= 1e-6
        layer.bias[:2] = torch.tensor([2.0, 3.0])


def handwritten() -> nn.Module:
    """The Handwritten model with random weights; takes 32x32x3."""
    torch.manual_seed(2)
    return with_statistics(Handwritten())
