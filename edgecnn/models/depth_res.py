"""Separable convolutions with residual blocks between them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from edgecnn.models.blocks import Residual, Separable, add_head, add_stage, flat_features
from edgecnn.models.registry import register


@dataclass(frozen=True)
class Stage:
    """A separable convolution, then a 2x2 pool and a residual block where asked for."""

    channels: int
    kernel: int
    padding: int
    dilation: int
    pool: bool
    residual: bool


STAGES = (
    Stage(channels=6, kernel=5, padding=2, dilation=1, pool=True, residual=False),
    Stage(channels=16, kernel=3, padding=1, dilation=1, pool=True, residual=True),
    Stage(channels=32, kernel=5, padding=2, dilation=1, pool=False, residual=True),
    Stage(channels=64, kernel=5, padding=2, dilation=2, pool=False, residual=True),
)


@register("depth_res")
def depth_res(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """235,868 parameters at 10 classes and 3x32x32."""
    net = nn.Sequential()
    channels = in_channels
    for index, stage in enumerate(STAGES, start=1):
        convolution = Separable(channels, stage.channels, stage.kernel, stage.padding, stage.dilation)
        add_stage(net, index, convolution, stage.channels, stage.pool)
        channels = stage.channels
        if stage.residual:
            net.add_module(f"res{index}", Residual(channels, channels))
    add_head(net, flat_features(net, channels, image_size), num_classes)
    return net
