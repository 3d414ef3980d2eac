"""``pool_as_conv``: average pools as operations that the int8 delegate takes."""

from __future__ import annotations

from torch import fx, nn

from edgecnn.quantize.graph import module_of, shape_of
from edgecnn.quantize.layers import GlobalMean
from edgecnn.quantize.simplify import pair


class PoolConv2d(nn.Conv2d):
    """Average pooling written as a depthwise convolution with weights 1/k^2, which training leaves alone."""

    def __init__(self, channels: int, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__(channels, channels, kernel, stride, groups=channels)
        nn.init.constant_(self.weight, 1 / (kernel[0] * kernel[1]))
        assert self.bias is not None
        nn.init.zeros_(self.bias)
        self.requires_grad_(False)


def pool_as_conv(graph_module: fx.GraphModule) -> None:
    """Average pools become depthwise convolutions, or a mean where they leave one pixel.

    The int8 delegate of LiteRT takes these, and not AVERAGE_POOL_2D, which splits the graph in two.
    """
    for node in list(graph_module.graph.nodes):
        pool = module_of(graph_module, node)
        if not (isinstance(pool, nn.AvgPool2d) and is_plain(pool)):
            continue
        _, channels, height, width = shape_of(node.args[0])
        kernel, stride = pair(pool.kernel_size), pair(pool.stride)
        rewritten = GlobalMean() if kernel == (height, width) else PoolConv2d(channels, kernel, stride)
        graph_module.set_submodule(str(node.target), rewritten)


def is_plain(pool: nn.AvgPool2d) -> bool:
    """True for an average of as many pixels everywhere, which is what runtimes compute."""
    return pool.padding in (0, (0, 0)) and not pool.ceil_mode and pool.divisor_override is None
