"""Layers of torch from the functions that do the same: a table by the plain name of the function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.errors import UsageError


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0) -> nn.Module | None:
    if not min_val < max_val:  # a constant, which no layer is
        return None
    return nn.ReLU6() if (min_val, max_val) == (0, 6) else nn.Hardtanh(min_val, max_val)


def _clamp(min: float | Tensor | None = None, max: float | Tensor | None = None) -> nn.Module | None:
    if any(isinstance(bound, Tensor) and bound.numel() != 1 for bound in (min, max)):  # as of each channel
        return None
    least, most = (bound.item() if isinstance(bound, Tensor) else bound for bound in (min, max))
    if least == 0 and most is None:
        return nn.ReLU()
    infinity = float("inf")
    return _hardtanh(-infinity if least is None else least, infinity if most is None else most)


def _pad(pad: Sequence[int] = (), mode: str = "constant", value: float | None = 0) -> nn.Module | None:
    if len(pad) != 4:
        return None
    kinds: dict[str, Callable[[Any], nn.Module]] = {
        "constant": nn.ZeroPad2d if not value else lambda sides: nn.ConstantPad2d(sides, value),
        "reflect": nn.ReflectionPad2d,
        "replicate": nn.ReplicationPad2d,
        "circular": nn.CircularPad2d,
    }
    return kinds[mode](tuple(pad))


def _conv2d(
    weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> nn.Module:
    out_channels, in_channels = weight.shape[0], weight.shape[1] * groups
    kernel = (weight.shape[2], weight.shape[3])
    step, pad, holes = (tuple(each) if isinstance(each, list) else each for each in (stride, padding, dilation))
    layer = nn.Conv2d(in_channels, out_channels, kernel, step, pad, holes, groups, bias is not None)
    return _with(layer, weight=weight, bias=bias)


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    return _with(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), weight=weight, bias=bias)


def _batch_norm(
    running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> nn.Module:  # fmt: skip
    if running_mean is None or running_var is None:
        raise UsageError(
            "the model has a BatchNorm without running statistics, which normalizes each batch by itself: there is no "
            "fixed computation to export; train it with track_running_stats=True"
        )
    layer = nn.BatchNorm2d(len(running_mean), eps)
    weight = torch.ones_like(running_mean) if weight is None else weight
    bias = torch.zeros_like(running_mean) if bias is None else bias
    _with(layer, weight=weight, bias=bias)
    layer.running_mean, layer.running_var = running_mean.detach().clone(), running_var.detach().clone()
    return layer


def _layer_norm(
    normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> nn.Module:
    layer = nn.LayerNorm(list(normalized_shape), eps, weight is not None, bias is not None)
    return _with(layer, weight=weight, bias=bias)


def _with(layer: nn.Module, **parameters: Tensor | None) -> nn.Module:
    for name, value in parameters.items():
        if value is not None:
            setattr(layer, name, nn.Parameter(value.detach().clone()))
    return layer


def _max_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> nn.Module:
    return nn.MaxPool2d(kernel_size, stride or None, padding, dilation, ceil_mode=ceil_mode)


def _avg_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> nn.Module:  # fmt: skip
    return nn.AvgPool2d(kernel_size, stride or None, padding, ceil_mode, count_include_pad, divisor_override)


# The parameters of each builder are named and ordered as those of the function, after its input.
BUILDERS: dict[str, Callable[..., nn.Module | None]] = {
    "adaptive_avg_pool2d": lambda output_size: nn.AdaptiveAvgPool2d(output_size),
    "adaptive_max_pool2d": lambda output_size: nn.AdaptiveMaxPool2d(output_size),
    "adaptive_max_pool2d_with_indices": lambda output_size: nn.AdaptiveMaxPool2d(output_size),
    "avg_pool2d": _avg_pool,
    "batch_norm": _batch_norm,
    "channel_shuffle": lambda groups: nn.ChannelShuffle(groups),
    "clamp": _clamp,
    "clip": _clamp,
    "constant_pad_nd": lambda pad, value=0: _pad(pad, value=value),
    "conv2d": _conv2d,
    "elu": lambda alpha=1.0: nn.ELU(alpha),
    "gelu": lambda approximate="none": nn.GELU(approximate),
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": _hardtanh,
    "layer_norm": _layer_norm,
    "leaky_relu": lambda negative_slope=0.01: nn.LeakyReLU(negative_slope),
    "linear": _linear,
    "max_pool2d": _max_pool,
    "max_pool2d_with_indices": _max_pool,
    "pad": _pad,
    "relu": lambda: nn.ReLU(),
    "relu6": lambda: nn.ReLU6(),
    "sigmoid": nn.Sigmoid,
    "silu": lambda: nn.SiLU(),
    "swish": lambda: nn.SiLU(),
    "tanh": nn.Tanh,
}
