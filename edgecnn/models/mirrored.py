"""A network that looks at each image and at its mirror image."""

from __future__ import annotations

from torch import Tensor, nn


class Mirrored(nn.Module):
    """The mean of what ``network`` says of images float32 [n, channels, height, width] and of their mirror images.

    It has the weights of ``network`` and twice its multiply-accumulates. This says what is meant; exported files hold
    the network once and hand it both images as one batch (quantize.mirror).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = (self.network(x) + self.network(x.flip(3))) / 2
        return mean
