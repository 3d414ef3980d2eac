"""Quantization simulated in float: the modules that the QDQ graph is made of.

Real value = (q - zero_point) * scale. Activations are int8, per tensor, asymmetric; weights are int8 in -127..127, or
4-bit integers in -7..7, per output channel, symmetric (TFLite 8-bit quantization specification). Each module has six
modes:

    OBSERVE   pass float through; activations widen their range to what they see
    FOLLOW    round, with gradients that pass straight through; ranges drift towards those of each batch
    FROZEN    the same, and ranges stay
    SIMULATE  round to the quantized grid and back (torch.fake_quantize_*); what an exported file is judged by
    TFLITE    quantize/dequantize pairs (quantized_decomposed) that litert-torch turns into integer operations
    ONNX      the same for ONNX Runtime: activations and stored weights uint8, which are the same grids with the zero
              point moved by 128. On x86 without VNNI, kernels for int8 weights (MLAS, and OpenVINO's) add products in
              16 bits, which saturates and says nothing; those for uint8 do not. With VNNI they are the slower ones
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Self

import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn.quantize.layers import UnitClamp

QMIN, QMAX = -128, 127
BITS = 8
SMALLEST_SCALE = 1e-8
FOLLOWING = 0.01  # share of the way that a range goes towards that of a batch

_ops = torch.ops.quantized_decomposed


class Mode(Enum):
    """What the modules of a QDQ graph do; see the module's docstring."""

    OBSERVE = "observe"
    FOLLOW = "follow"
    FROZEN = "frozen"
    SIMULATE = "simulate"
    TFLITE = "tflite"
    ONNX = "onnx"


EXPORTED = (Mode.TFLITE, Mode.ONNX)
TRAINED = (Mode.FOLLOW, Mode.FROZEN)


def stored_as(mode: Mode) -> tuple[int, torch.dtype]:
    """What is added to the integers in an exported file, and their type there."""
    return (128, torch.uint8) if mode is Mode.ONNX else (0, torch.int8)


def straight_through(x: Tensor, scale: Tensor, lowest: Tensor | int, highest: Tensor | int) -> Tensor:
    """``x`` rounded to whole steps of ``scale``, at least ``lowest`` and at most ``highest`` of them; float32.

    The gradient is 1 inside and 0 where it is cut off (Bengio et al. 2013). These are plain operations, which
    torch.compile fuses with their neighbours: on a CPU that takes a third of the time of torch.fake_quantize_*.
    """
    x = x.float()
    low, high = lowest * scale, highest * scale
    # Not clamp alone, whose gradient is a half where x is the bound itself, as every channel's largest weight is.
    kept = torch.where((x < low) | (x > high), torch.clamp(x.detach(), low, high), x)
    return kept + (torch.round(kept.detach() / scale) * scale - kept).detach()


def learned_step(x: Tensor, scale: Tensor, lowest: Tensor | int, highest: Tensor | int, count: int) -> Tensor:
    """``straight_through`` with a gradient for ``scale`` too, that of Esser et al. 2020, equation 3.

    It is divided by the root of ``count``, which is to be the number of values times that of steps on one side.
    """
    share = count**-0.5
    scale = scale * share + (scale * (1 - share)).detach()
    steps = x.float() / scale
    low, high = lowest * torch.ones_like(scale), highest * torch.ones_like(scale)
    kept = torch.where((steps < low) | (steps > high), torch.clamp(steps.detach(), low, high), steps)
    return (kept + (torch.round(kept.detach()) - kept).detach()) * scale


@dataclass(frozen=True)
class Affine:
    """Scale (above 0) and zero point (in -128..127) of an int8 tensor."""

    scale: float
    zero_point: int


def affine_of(low: float, high: float) -> Affine:
    """The int8 grid of a range that holds zero.

    Of one that holds nothing else any is exact; a very small scale, which engines cannot bring to others, is not taken.
    """
    if low == high:
        return Affine(1.0, QMIN)
    # In float32, as the file stores it: otherwise the converter's bias scale differs in the last bit.
    scale = float(torch.tensor(max((high - low) / (QMAX - QMIN), SMALLEST_SCALE), dtype=torch.float32))
    return Affine(scale, min(max(QMIN - round(low / scale), QMIN), QMAX))


class ActivationQuantizer(nn.Module):
    """Quantizes one tensor; one instance serves every tensor that must share its parameters.

    ``fixed`` pins scale and zero point, where a runtime prescribes them.
    """

    low: Tensor
    high: Tensor

    def __init__(self, fixed: Affine | None = None) -> None:
        super().__init__()
        self.fixed = fixed
        self.mode = Mode.OBSERVE
        self.exported = Affine(1.0, 0)  # set when export begins: a tracer cannot read the buffers
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def affine(self) -> Affine:
        """The parameters in use. The range always holds zero, so that zero is exact."""
        return self.fixed or affine_of(float(self.low), float(self.high))

    def set_mode(self, mode: Mode) -> None:
        """Switch to ``mode``."""
        self.mode = mode
        if mode in EXPORTED:
            self.exported = self.affine()

    def grid(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point as training needs them: as tensors, which a compiled graph can compute."""
        if self.fixed is not None:
            return self.low.new_tensor(self.fixed.scale), self.low.new_tensor(self.fixed.zero_point)
        span = self.high - self.low
        scale = torch.where(span > 0, (span / (QMAX - QMIN)).clamp(min=SMALLEST_SCALE), 1.0)
        return scale, (QMIN - torch.round(self.low / scale)).clamp(QMIN, QMAX)

    def _follow(self, x: Tensor) -> None:
        with torch.no_grad():
            self.low.lerp_(x.amin().float().clamp(max=0), FOLLOWING)
            self.high.lerp_(x.amax().float().clamp(min=0), FOLLOWING)

    def forward(self, x: Tensor) -> Tensor:
        if self.mode is Mode.OBSERVE:
            low, high = torch.aminmax(x.detach())
            self.low.copy_(torch.minimum(self.low, low))
            self.high.copy_(torch.maximum(self.high, high))
            return x
        if self.mode in TRAINED:
            if self.mode is Mode.FOLLOW and self.fixed is None:
                self._follow(x.detach())
            scale, zero_point = self.grid()
            return straight_through(x, scale, QMIN - zero_point, QMAX - zero_point)
        if self.mode is Mode.SIMULATE:
            affine = self.affine()
            return torch.fake_quantize_per_tensor_affine(x, affine.scale, affine.zero_point, QMIN, QMAX)
        shift, dtype = stored_as(self.mode)
        grid = (self.exported.scale, self.exported.zero_point + shift, QMIN + shift, QMAX + shift, dtype)
        return _ops.dequantize_per_tensor(_ops.quantize_per_tensor(x, *grid), *grid)


class AverageQuantizer(nn.Module):
    """Quantizes what an average pool gives, on the grid of the tensor it was given, whose quantizer is ``source``.

    LiteRT averages the integers and rounds halves away from zero (reference_integer_ops::AveragePool); everything
    else here rounds them to even. With 2x2 pixels every fourth average is a half.
    """

    def __init__(self, source: ActivationQuantizer) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple, since the graph owns it already

    @property
    def source(self) -> ActivationQuantizer:
        """The quantizer of the tensor that was given."""
        return self._source[0]

    def affine(self) -> Affine:
        """Those of the source."""
        return self.source.affine()

    def forward(self, x: Tensor) -> Tensor:
        source = self.source
        if source.mode not in (*TRAINED, Mode.SIMULATE):
            return source(x)
        scale, zero_point = source.grid()
        integers = x.detach().float() / scale + zero_point
        # The float average of integers is off by a little, and no average is this close to a half without being one.
        rounded = torch.sign(integers) * torch.floor(integers.abs() + (0.5 + 1e-4))
        return x + ((rounded - zero_point) * scale - x).detach()


class Border(nn.Module):
    """Gives what it is given; stands on every way between int8 and float32.

    The converter to TFLite quantizes on its own what lies between two quantized tensors, weights included, and so does
    ONNX Runtime when it loads a file. What the converter is shown here is an operation that it never quantizes, and
    ``export.tflite`` takes that out of the file again; what ONNX Runtime is shown changes nothing and stays.
    """

    STAND_IN = "COS"

    mode: Mode = Mode.OBSERVE

    def forward(self, x: Tensor) -> Tensor:
        if self.mode is Mode.TFLITE:
            return torch.cos(x)
        return torch.maximum(x, x) if self.mode is Mode.ONNX else x

    def set_mode(self, mode: Mode) -> None:
        """Switch to ``mode``."""
        self.mode = mode


class _QuantizedWeight(nn.Module):
    """Mixin of a layer whose ``weight`` is quantized per output channel.

    ``weight_bits`` is 8 or 4. ``smallest_scales`` float32 [out channels] are lower bounds of the scales; 0 where there
    is none. ``steps`` float32 [out channels] are scales of ``weight`` that are learned; None where they follow it.
    """

    weight: Tensor
    smallest_scales: Tensor
    exported_scales: Tensor
    exported_zeros: Tensor
    exported_weight: Tensor
    mode: Mode = Mode.OBSERVE
    weight_bits: int = BITS
    steps: Tensor | None

    @classmethod
    def adopt(cls, layer: nn.Module) -> Self:
        """Turn a plain layer of the same kind into one of these, in place."""
        layer.__class__ = cls
        assert isinstance(layer, cls)
        layer.register_buffer("smallest_scales", torch.zeros(len(layer.weight)))
        layer.register_parameter("steps", None)
        return layer

    def set_mode(self, mode: Mode) -> None:
        """Switch to ``mode``."""
        self.mode = mode
        if mode in EXPORTED:
            # Buffers, as the converter wants to find constants.
            scales = self.weight_scales()
            self.register_buffer("exported_scales", scales, persistent=False)
            zeros = torch.full_like(scales, stored_as(mode)[0], dtype=torch.int64)
            stored = _ops.quantize_per_channel(self.weight.detach(), *self._grid(scales, zeros))
            self.register_buffer("exported_zeros", zeros, persistent=False)
            self.register_buffer("exported_weight", stored, persistent=False)

    def folded_weight(self) -> Tensor:
        """The weight in float, as it is quantized."""
        return self.weight

    def growth(self) -> Tensor:
        """How many times as large ``folded_weight`` is as ``weight``, float32 [out channels]."""
        return torch.ones_like(self.smallest_scales)

    @property
    def largest(self) -> int:
        """The largest integer that a weight can be; the smallest is minus this."""
        return 2 ** (self.weight_bits - 1) - 1

    def weight_scales(self) -> Tensor:
        """float32 [out channels]: the largest magnitude of each channel over ``largest``, or what was learned."""
        if self.steps is not None:
            return (self.steps.abs() * self.growth()).clamp(min=SMALLEST_SCALE)
        weight = self.folded_weight().detach()
        reached = weight.abs().amax(dim=tuple(range(1, weight.dim()))).clamp(min=SMALLEST_SCALE)
        return torch.maximum(reached / self.largest, self.smallest_scales)

    def quantized_weight(self) -> Tensor:
        """The weight as the mode says."""
        weight = self.folded_weight()
        if self.mode is Mode.OBSERVE:
            return weight
        if self.mode in TRAINED:
            scales = self.weight_scales().view(-1, *[1] * (weight.dim() - 1))
            if self.steps is not None:
                return learned_step(weight, scales, -self.largest, self.largest, weight[0].numel() * self.largest)
            return straight_through(weight, scales, -self.largest, self.largest)
        if self.mode is Mode.SIMULATE:
            scales = self.weight_scales().detach()
            zeros = torch.zeros_like(scales, dtype=torch.int32)
            return torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -self.largest, self.largest)
        grid = self._grid(self.exported_scales, self.exported_zeros)
        if self.mode is Mode.ONNX:
            return _ops.dequantize_per_channel(self.exported_weight, *grid)
        return _ops.dequantize_per_channel(_ops.quantize_per_channel(self.weight, *grid), *grid)

    def _grid(self, scales: Tensor, zeros: Tensor) -> tuple[Tensor, Tensor, int, int, int, torch.dtype]:
        shift, dtype = stored_as(self.mode)
        return scales, zeros, 0, shift - self.largest, shift + self.largest, dtype


class QuantizedConv2d(_QuantizedWeight, nn.Conv2d):
    """A convolution with simulated integer weights."""

    def with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._conv_forward(x, weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.quantized_weight(), self.bias)


class QuantizedLinear(_QuantizedWeight, nn.Linear):
    """A linear layer with simulated integer weights."""

    def with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.quantized_weight(), self.bias)


def weight_bits(module: nn.Module) -> dict[str, int]:
    """Bits of each layer's weights in a QDQ graph, by module name."""
    return {name: part.weight_bits for name, part in module.named_modules() if isinstance(part, _QuantizedWeight)}


@contextmanager
def mode_of(module: nn.Module, mode: Mode) -> Iterator[None]:
    """``set_mode`` for the length of a block; afterwards the module simulates."""
    set_mode(module, mode)
    try:
        yield
    finally:
        set_mode(module, Mode.SIMULATE)


def set_mode(module: nn.Module, mode: Mode) -> None:
    """Switch every quantizing module inside ``module``."""
    for part in module.modules():
        if isinstance(part, ActivationQuantizer | Border | _QuantizedWeight):
            part.set_mode(mode)
        elif isinstance(part, UnitClamp):
            part.exported = mode in EXPORTED
