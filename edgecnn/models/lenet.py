"""LeNet-5 (LeCun et al. 1998) with average pooling and tanh."""

from __future__ import annotations

from torch import nn

from edgecnn.models.blocks import flat_features
from edgecnn.models.registry import register


@register("lenet")
def lenet(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """62,006 parameters at 10 classes and 3x32x32."""
    net = nn.Sequential()
    for index, (channels_in, channels_out) in enumerate([(in_channels, 6), (6, 16)], start=1):
        net.add_module(f"conv{index}", nn.Conv2d(channels_in, channels_out, 5))
        net.add_module(f"tanh{index}", nn.Tanh())
        net.add_module(f"pool{index}", nn.AvgPool2d(2))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Linear(flat_features(net, channels_out, image_size), 120))
    net.add_module("fc1_tanh", nn.Tanh())
    net.add_module("fc2", nn.Linear(120, 84))
    net.add_module("fc2_tanh", nn.Tanh())
    net.add_module("fc3", nn.Linear(84, num_classes))
    return net
