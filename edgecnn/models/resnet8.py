"""ResNet-8 of MLPerf Tiny (Banbury et al. 2021): 16-32-64, the yardstick of small image classifiers."""

from __future__ import annotations

from torch import nn

from edgecnn.models.blocks import Residual, add_stage
from edgecnn.models.registry import register

BLOCKS = ((16, 1), (32, 2), (64, 2))  # channels, stride


@register("resnet8")
def resnet8(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """About 78 k parameters at 10 classes and 3 channels; global pooling takes any image of 4x4 or more."""
    net = nn.Sequential()
    add_stage(net, 0, nn.Conv2d(in_channels, 16, 3, padding=1), 16, pool=False)
    channels, (height, width) = 16, image_size
    for index, (width_out, stride) in enumerate(BLOCKS, start=1):
        net.add_module(f"res{index}", Residual(channels, width_out, stride))
        channels, height, width = width_out, -(-height // stride), -(-width // stride)
    net.add_module("pool", nn.AvgPool2d((height, width)))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc", nn.Linear(channels, num_classes))
    return net
