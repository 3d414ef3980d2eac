"""Ranges that cut off a little: only where that loses less than it saves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn.models import ModelArguments
from edgecnn.quantize.fold import fold
from edgecnn.quantize.qdq import insert_quantizers
from edgecnn.quantize.ranges import tighten_ranges
from edgecnn.quantize.simulate import QMAX, QMIN, ActivationQuantizer, Mode, set_mode


def tightened(inputs: torch.Tensor) -> tuple[ActivationQuantizer, float]:
    """The quantizer of a layer that passes its input on, after calibration and tightening in two batches."""
    layer = nn.Conv2d(1, 1, 1)
    assert layer.bias is not None
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    graph_module = insert_quantizers(fold(nn.Sequential(layer)))
    set_mode(graph_module, Mode.OBSERVE)
    graph_module(inputs)
    quantizer = graph_module.get_submodule("quantizer__0")
    assert isinstance(quantizer, ActivationQuantizer)
    before = quantizer.high.item()
    tighten_ranges(graph_module, inputs.chunk(2))
    return quantizer, before


def loss(quantizer: ActivationQuantizer, values: torch.Tensor, high: float | None = None) -> float:
    if high is not None:
        quantizer.low, quantizer.high = quantizer.low * (high / quantizer.high), torch.tensor(high)
    grid = quantizer.affine()
    rounded = torch.fake_quantize_per_tensor_affine(values, grid.scale, grid.zero_point, QMIN, QMAX)
    return float((rounded - values).square().mean())


def test_a_few_far_values_are_cut_off_and_the_rest_is_rounded_finer():
    values = torch.rand(8, 1, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    values[0, 0, 0, :2] = torch.tensor([1.5, -1.5])
    quantizer, before = tightened(values)
    assert before == 1.5
    assert quantizer.high.item() < before
    assert loss(quantizer, values) < loss(quantizer, values, before)


def test_evenly_spread_values_keep_their_whole_range():
    values = torch.linspace(-1, 1, 8 * 64 * 64).reshape(8, 1, 64, 64)
    quantizer, before = tightened(values)
    assert quantizer.high.item() == before


def test_every_column_of_a_picture_counts():
    """Steps of two through rows of 256 values would see the columns of small values alone, and cut the others off."""
    values = torch.rand(8, 1, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    values[..., ::2] *= 0.01
    quantizer, before = tightened(values)
    assert quantizer.high.item() == before


def test_what_the_runtime_prescribes_is_not_touched():
    graph_module = insert_quantizers(fold(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Tanh())))
    set_mode(graph_module, Mode.OBSERVE)
    graph_module(torch.randn(4, 1, 8, 8))
    tighten_ranges(graph_module, [torch.randn(4, 1, 8, 8)])
    quantizer = graph_module.get_submodule("quantizer__1")
    assert isinstance(quantizer, ActivationQuantizer)
    assert quantizer.affine().scale == pytest.approx(1 / 128)


class Joined(nn.Module):
    """Two tensors that a concatenation joins, the first a hundredth of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
        for layer, factor in ((self.small, 0.01), (self.large, 1.0)):
            assert layer.bias is not None
            nn.init.constant_(layer.weight, factor)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.small(x), self.large(x)], 1)


def test_a_grid_that_tensors_share_suits_all_of_them():
    """By the first alone it would be cut to 0.6 of what the second needs."""
    inputs = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    graph_module = insert_quantizers(fold(Joined(), ModelArguments(2, 1, (64, 64))))
    set_mode(graph_module, Mode.OBSERVE)
    graph_module(inputs)
    tighten_ranges(graph_module, [inputs])
    names = {str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"}
    (shared,) = (name for name in names if name.startswith("quantizer_") and name != "quantizer_x")
    quantizer = graph_module.get_submodule(shared)
    assert isinstance(quantizer, ActivationQuantizer)
    assert float(quantizer.high) >= 0.95
