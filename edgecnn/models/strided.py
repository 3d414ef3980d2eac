"""Strided 1x1 convolutions, written so that the CPU gets their gradients right.

oneDNN, with which torch computes convolutions on CPUs, writes beyond its working memory in the gradient of such a
layer's weights where fewer channels come in than fit a register, 8 with AVX2 and 16 with AVX-512, and memory is
channels_last: weights learn the wrong thing, or the process dies (github.com/uxlfoundation/oneDNN/issues/6035). Without
the stride it does not, and the pixels that are skipped can be left out before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional as F

FEWEST = 16  # channels in, from which on no CPU errs


@contextmanager
def right_gradients(model: nn.Module) -> Iterator[None]:
    """Meanwhile the layers of ``model`` that torch would err in skip pixels first; what they give stays the same."""
    layers = [each for each in model.modules() if isinstance(each, nn.Conv2d) and _errs(each)]
    for layer in layers:
        layer._conv_forward = _skipping(layer)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer._conv_forward


def _errs(layer: nn.Conv2d) -> bool:
    plain = layer.kernel_size == (1, 1) and layer.padding in ((0, 0), "valid") and layer.groups == 1
    return plain and max(layer.stride) > 1 and layer.in_channels < FEWEST and layer.weight.device.type == "cpu"


def _skipping(layer: nn.Conv2d) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    down, right = layer.stride

    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x[..., ::down, ::right], weight, bias)

    return forward
