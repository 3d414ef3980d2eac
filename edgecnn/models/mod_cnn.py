"""LeNet modernised: BatchNorm, ReLU, two more convolutions, the last one dilated.

``depthwise`` reads the same table with each convolution made separable.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from edgecnn.models.blocks import add_head, add_stage, flat_features
from edgecnn.models.registry import register


@dataclass(frozen=True)
class Stage:
    """One convolution stage; every one is padded by 2."""

    channels: int
    kernel: int
    dilation: int
    pool: bool


STAGES = (
    Stage(channels=6, kernel=5, dilation=1, pool=True),
    Stage(channels=16, kernel=3, dilation=1, pool=True),
    Stage(channels=16, kernel=5, dilation=1, pool=False),
    Stage(channels=32, kernel=5, dilation=2, pool=False),
)
PADDING = 2


@register("mod_cnn")
def mod_cnn(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """127,858 parameters at 10 classes and 3x32x32."""
    net = nn.Sequential()
    channels = in_channels
    for index, stage in enumerate(STAGES, start=1):
        convolution = nn.Conv2d(channels, stage.channels, stage.kernel, padding=PADDING, dilation=stage.dilation)
        add_stage(net, index, convolution, stage.channels, stage.pool)
        channels = stage.channels
    add_head(net, flat_features(net, channels, image_size), num_classes)
    return net
