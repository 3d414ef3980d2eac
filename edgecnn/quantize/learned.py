"""Ranges that are learned: scales as parameters, trained by the same loss as the weights.

S. K. Esser et al., "Learned step size quantization" (2020): rounding lets gradients through, and what it rounds away
pulls at the scale. Zero points stay where calibration put them, so zero stays exact. A layer's scales are those of its
weights without the BatchNorm that is folded into them, which so may change as it likes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgecnn.quantize.simulate import (
    BITS,
    QMAX,
    QMIN,
    SMALLEST_SCALE,
    TRAINED,
    ActivationQuantizer,
    Affine,
    QuantizedConv2d,
    QuantizedLinear,
    learned_step,
)


class LearnedQuantizer(ActivationQuantizer):
    """An ActivationQuantizer whose ``scale`` is a parameter; ``zero_point`` is a whole number, both float32 []."""

    scale: Tensor
    zero_point: Tensor

    def affine(self) -> Affine:
        """The parameters in use."""
        return Affine(float(self.grid()[0]), int(self.zero_point))

    def grid(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point; gradients reach the scale."""
        return self.scale.abs().clamp(min=SMALLEST_SCALE), self.zero_point

    def forward(self, x: Tensor) -> Tensor:
        if self.mode not in TRAINED:
            return super().forward(x)
        scale, zero_point = self.grid()
        return learned_step(x, scale, QMIN - zero_point, QMAX - zero_point, x[0].numel() * QMAX)


def learn_ranges(graph_module: nn.Module) -> None:
    """Make parameters of all scales of a calibrated QDQ graph that nobody prescribes, in place."""
    for part in graph_module.modules():
        if isinstance(part, ActivationQuantizer) and part.fixed is None:
            affine = part.affine()
            part.__class__ = LearnedQuantizer
            assert isinstance(part, LearnedQuantizer)
            part.scale = nn.Parameter(part.low.new_tensor(affine.scale))
            part.register_buffer("zero_point", part.low.new_tensor(float(affine.zero_point)))
        elif isinstance(part, QuantizedConv2d | QuantizedLinear) and part.weight.requires_grad:
            part.steps = nn.Parameter(_first_steps(part))


def settle_ranges(graph_module: nn.Module) -> nn.Module:
    """The inverse, in place: each range is the one that was learned, and weights beyond their scale's reach are cut."""
    for part in graph_module.modules():
        if isinstance(part, LearnedQuantizer):
            scale, zero_point = (each.detach() for each in part.grid())
            del part.scale, part.zero_point
            part.low, part.high = (QMIN - zero_point) * scale, (QMAX - zero_point) * scale
            part.__class__ = ActivationQuantizer  # type: ignore[assignment]
        elif isinstance(part, QuantizedConv2d | QuantizedLinear) and part.steps is not None:
            scales = part.weight_scales().detach()
            reach = (part.largest * scales).view(-1, *[1] * (part.weight.dim() - 1))
            part.steps, part.smallest_scales = None, scales
            part.weight = nn.Parameter(part.weight.detach().clamp(-reach, reach))
    return graph_module


def _first_steps(layer: QuantizedConv2d | QuantizedLinear) -> Tensor:
    """Scales of the weights to start from, float32 [out channels]; few bits start finer than the largest asks for."""
    scales = layer.weight_scales() / layer.growth()
    if layer.weight_bits == BITS:
        return scales
    size = layer.weight.detach().abs().mean(tuple(range(1, layer.weight.dim())))
    return torch.minimum(scales, (2 * size / math.sqrt(layer.largest)).clamp(min=SMALLEST_SCALE))
