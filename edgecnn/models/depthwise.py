"""``mod_cnn`` with each convolution replaced by a depthwise and a pointwise one (Howard et al. 2017)."""

from __future__ import annotations

from torch import nn

from edgecnn.models.blocks import Separable, add_head, add_stage, flat_features
from edgecnn.models.mod_cnn import PADDING, STAGES
from edgecnn.models.registry import register


@register("depthwise")
def depthwise(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """109,196 parameters at 10 classes and 3x32x32."""
    net = nn.Sequential()
    channels = in_channels
    for index, stage in enumerate(STAGES, start=1):
        convolution = Separable(channels, stage.channels, stage.kernel, PADDING, stage.dilation)
        add_stage(net, index, convolution, stage.channels, stage.pool)
        channels = stage.channels
    add_head(net, flat_features(net, channels, image_size), num_classes)
    return net
