"""BatchNorm during training under quantization: there while it trains, gone without a trace afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from edgecnn import models
from edgecnn.data.augment import to_input
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.batchnorm import NormalizedConv2d, fold_batchnorm_again, unfold_batchnorm
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.quantize.simulate import Mode, QuantizedConv2d, set_mode

ARGUMENTS = ModelArguments(3, 3, (32, 32))


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def batch(count: int, seed: int) -> Tensor:
    return to_input(torch.from_numpy(pixels(count, seed)))


def calibrated(name: str) -> fx.GraphModule:
    torch.manual_seed(0)
    model = models.create(name, ARGUMENTS)
    with torch.no_grad():
        for seed in range(3):
            model.train()(batch(32, seed))
    return ptq.calibrate(model, ARGUMENTS, [pixels(32, 0)], passes.defaults(STATIC_W8A8))


@pytest.mark.parametrize("name", ["mod_cnn", "depthwise", "depth_res", "resnet8"])
def test_unfolding_and_folding_change_nothing(name: str) -> None:
    graph = calibrated(name)
    before = graph(batch(8, 9))
    names = set(graph.state_dict())
    unfold_batchnorm(graph, [batch(32, 0)])
    normalized = [part for part in graph.modules() if isinstance(part, NormalizedConv2d)]
    assert normalized
    torch.testing.assert_close(graph(batch(8, 9)), before, rtol=0, atol=1e-4)
    fold_batchnorm_again(graph)
    torch.testing.assert_close(graph(batch(8, 9)), before, rtol=0, atol=1e-4)
    assert set(graph.state_dict()) == names
    assert not any(isinstance(part, NormalizedConv2d) for part in graph.modules())


def test_a_network_without_batchnorm_gets_none() -> None:
    graph = calibrated("lenet")
    unfold_batchnorm(graph, [batch(32, 0)])
    assert not any(isinstance(part, NormalizedConv2d) for part in graph.modules())


def test_statistics_follow_the_batches_in_training_and_stay_in_use() -> None:
    graph = calibrated("mod_cnn")
    unfold_batchnorm(graph, [batch(32, 0)])
    layer = next(part for part in graph.modules() if isinstance(part, NormalizedConv2d))
    start = layer.mean.clone()
    set_mode(graph, Mode.SIMULATE)
    graph(batch(32, 5) * 0.5)
    assert torch.equal(layer.mean, start)
    for mode in (Mode.FOLLOW, Mode.FROZEN):
        before = layer.mean.clone()
        set_mode(graph, mode)
        graph(batch(32, 5) * 0.5)
        assert not torch.equal(layer.mean, before)


def test_in_training_the_output_is_normalized_by_the_batch() -> None:
    """As of a float convolution with BatchNorm in training, but for the rounding of its weights."""
    torch.manual_seed(1)
    layer = QuantizedConv2d.adopt(nn.Conv2d(3, 4, 3))
    assert isinstance(layer, QuantizedConv2d) and layer.bias is not None
    x = batch(16, 3)
    raw = nn.functional.conv2d(x, layer.weight)
    mean, var = raw.mean((0, 2, 3)).detach(), raw.var((0, 2, 3)).detach()
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.weight.copy_(torch.sqrt(var + norm.eps))
        norm.bias.copy_(layer.bias + mean)
    other = x * 3 + 1
    expected = norm.train()(nn.functional.conv2d(other, layer.weight))
    NormalizedConv2d.unfold(layer, mean, var)
    set_mode(layer, Mode.FOLLOW)
    torch.testing.assert_close(layer(other), expected, rtol=0, atol=0.02)
