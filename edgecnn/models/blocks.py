"""The pieces the architectures share."""

from __future__ import annotations

from torch import Tensor, nn


class Separable(nn.Sequential):
    """A depthwise convolution followed by a pointwise one, both with bias and nothing between them."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, padding: int, dilation: int = 1) -> None:
        super().__init__()
        self.add_module(
            "depth",
            nn.Conv2d(in_channels, in_channels, kernel, padding=padding, dilation=dilation, groups=in_channels),
        )
        self.add_module("point", nn.Conv2d(in_channels, out_channels, 1))


class Residual(nn.Module):
    """conv3x3 BN ReLU conv3x3 BN, plus the input, then ReLU (He et al. 2015).

    With ``stride`` 2 or a change of channels the input passes through a strided 1x1 convolution. ``dilations`` are
    those of the two convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, dilations: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=first, dilation=first)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=second, dilation=second)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))

    def silence(self) -> None:
        """Have it add zero to its input, until it is trained."""
        nn.init.zeros_(self.bn2.weight)


def add_stage(net: nn.Sequential, index: int, convolution: nn.Module, channels: int, pool: bool) -> None:
    """Append convolution, BatchNorm, ReLU and, with ``pool``, a 2x2 average pool, numbered ``index``."""
    net.add_module(f"conv{index}", convolution)
    net.add_module(f"bn{index}", nn.BatchNorm2d(channels))
    net.add_module(f"relu{index}", nn.ReLU())
    if pool:
        net.add_module(f"pool{index}", nn.AvgPool2d(2))


def flat_features(net: nn.Module, channels: int, image_size: tuple[int, int]) -> int:
    """Number of values per image of ``net``, whose layers follow each other and whose last gives ``channels`` maps.

    Reckoned (by the formulas of PyTorch's Conv2d and AvgPool2d) and not run, which on the meta device, where weights
    are looked at first, would import a thousand modules. Raises RuntimeError for an image that is too small.
    """
    height, width = image_size
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.AvgPool2d):
            height, width = (_left(size, layer, axis) for axis, size in enumerate((height, width)))
            if min(height, width) < 1:
                raise RuntimeError(f"nothing is left of them after {layer}")
    return channels * height * width


def _left(size: int, layer: nn.Conv2d | nn.AvgPool2d, axis: int) -> int:
    """What a layer leaves of a height (axis 0) or a width (axis 1), in pixels."""
    kernel, stride, padding, dilation = (
        setting if isinstance(setting, int) else int(setting[axis])
        for setting in (layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", 1))
    )
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def add_head(net: nn.Sequential, features: int, num_classes: int) -> None:
    """Append flatten and the 120-84-classes multilayer perceptron with ReLU, dropout 0.3 before the last layer."""
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Linear(features, 120))
    net.add_module("fc1_relu", nn.ReLU())
    net.add_module("fc2", nn.Linear(120, 84))
    net.add_module("fc2_relu", nn.ReLU())
    net.add_module("dropout", nn.Dropout(0.3))
    net.add_module("fc3", nn.Linear(84, num_classes))
