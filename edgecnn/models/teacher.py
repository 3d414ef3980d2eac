"""The net that the small ones learn from: too large for a device, cheap to train for what it reaches.

Widths and order of layers are those of the CIFAR-10 speed runs (K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a
Single GPU", 2024), without their whitening and with an ordinary first convolution.
"""

from __future__ import annotations

from torch import nn

from edgecnn.models.registry import register

WIDTHS = (64, 256, 256)


@register("teacher")
def teacher(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """About 2 M parameters and 120 MMAC on 32x32; takes any image of 8x8 or more."""
    net = nn.Sequential(nn.Conv2d(in_channels, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.GELU())
    channels = 24
    for width in WIDTHS:
        net.extend([
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU(),
        ])  # fmt: skip
        channels = width
    net.extend([nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)])
    return net
