"""The four architectures, and what each becomes when one thing about it is changed.

A variant is made of the finished architecture, so that at the same seed both begin with the same weights wherever they
have the same layers. Each can be trained by itself, as in ``edgecnn train --model benchmarks/variants.py:lenet_relu``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from edgecnn.models.blocks import Residual, Separable
from edgecnn.models.depth_res import depth_res
from edgecnn.models.depthwise import depthwise
from edgecnn.models.lenet import lenet
from edgecnn.models.mod_cnn import PADDING, mod_cnn

Factory = Callable[[int, int, tuple[int, int]], nn.Module]
Layers = Iterable[tuple[str, nn.Module]]


def lenet_relu(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``lenet`` with ReLU in place of each tanh."""
    return _changed(lenet(num_classes, in_channels, image_size), _with_relu)


def lenet_bn(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``lenet`` with BatchNorm between each convolution and its tanh."""
    return _changed(lenet(num_classes, in_channels, image_size), _with_batchnorm)


def lenet_relu_bn(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``lenet`` with both."""
    return _changed(lenet_relu(num_classes, in_channels, image_size), _with_batchnorm)


def mod_cnn_near(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``mod_cnn`` whose last convolution takes 25 neighbours in place of every second pixel of 9x9.

    The padding goes with the dilation: so the map is as large as before, and neither parameters nor MACs change.
    """

    def near(convolution: nn.Conv2d) -> nn.Conv2d:
        plain = nn.Conv2d(convolution.in_channels, convolution.out_channels, convolution.kernel_size)  # type: ignore[arg-type]
        plain.load_state_dict(convolution.state_dict())
        return plain

    return _last_changed(mod_cnn(num_classes, in_channels, image_size), near)


def mod_cnn_dense(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``mod_cnn`` whose last convolution takes every pixel of the 9x9 of which the dilated one takes every second."""

    def dense(convolution: nn.Conv2d) -> nn.Conv2d:
        reach = convolution.dilation[0] * (convolution.kernel_size[0] - 1) + 1
        return nn.Conv2d(convolution.in_channels, convolution.out_channels, reach, padding=PADDING)

    return _last_changed(mod_cnn(num_classes, in_channels, image_size), dense)


def depthwise_bn_relu(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``depthwise`` with BatchNorm and ReLU between each depthwise convolution and its pointwise one."""

    def between(name: str, layer: nn.Module) -> Layers:
        if not isinstance(layer, Separable):
            return [(name, layer)]
        depth = layer.get_submodule("depth")
        assert isinstance(depth, nn.Conv2d)
        inner = nn.Sequential()
        inner.add_module("depth", depth)
        inner.add_module("bn", nn.BatchNorm2d(depth.out_channels))
        inner.add_module("relu", nn.ReLU())
        inner.add_module("point", layer.get_submodule("point"))
        return [(name, inner)]

    return _changed(depthwise(num_classes, in_channels, image_size), between)


def depth_res_plain(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``depth_res`` whose blocks add nothing: conv3x3 BN ReLU conv3x3 BN ReLU."""

    def plain(name: str, layer: nn.Module) -> Layers:
        if not isinstance(layer, Residual):
            return [(name, layer)]
        inner = nn.Sequential()
        for part in ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2"):
            inner.add_module(part, layer.get_submodule(part))
        return [(name, inner)]

    return _changed(depth_res(num_classes, in_channels, image_size), plain)


def depth_res_bare(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
    """``depth_res`` without its blocks."""

    def without(name: str, layer: nn.Module) -> Layers:
        return [] if isinstance(layer, Residual) else [(name, layer)]

    return _changed(depth_res(num_classes, in_channels, image_size), without)


def _with_relu(name: str, layer: nn.Module) -> Layers:
    return [(name.replace("tanh", "relu"), nn.ReLU())] if isinstance(layer, nn.Tanh) else [(name, layer)]


def _with_batchnorm(name: str, layer: nn.Module) -> Layers:
    if not isinstance(layer, nn.Conv2d):
        return [(name, layer)]
    return [(name, layer), (name.replace("conv", "bn"), nn.BatchNorm2d(layer.out_channels))]


def _changed(net: nn.Module, change: Callable[[str, nn.Module], Layers]) -> nn.Sequential:
    """``net`` with each of its layers replaced by those that ``change`` gives for it."""
    result = nn.Sequential()
    for name, layer in net.named_children():
        for new_name, new_layer in change(name, layer):
            result.add_module(new_name, new_layer)
    return result


def _last_changed(net: nn.Module, change: Callable[[nn.Conv2d], nn.Conv2d]) -> nn.Sequential:
    """``net`` with its last convolution, a layer of its own, replaced."""
    last = [layer for layer in net.children() if isinstance(layer, nn.Conv2d)][-1]
    return _changed(net, lambda name, layer: [(name, change(last) if layer is last else layer)])


VARIANTS: dict[str, Factory] = {
    factory.__name__: factory
    for factory in (
        lenet, lenet_relu, lenet_bn, lenet_relu_bn, mod_cnn, mod_cnn_near, mod_cnn_dense, depthwise, depthwise_bn_relu,
        depth_res, depth_res_plain, depth_res_bare,
    )
}  # fmt: skip
