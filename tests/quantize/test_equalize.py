"""Equalization: exact, through what lets a factor pass and nothing else, and what it brings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn.data.augment import to_input
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.normalization import attach
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.normalize import OnesChannel, form_of
from edgecnn.quantize.passes.equalize import pairs, scale
from tests import nets

ARGUMENTS = ModelArguments(10, 3, (32, 32))


def equalized(module):
    return passes.apply(fold(module), [passes.EQUALIZE], ARGUMENTS)


def rescaled(module, spread=2.0):
    """The same function, with channels that differ by factors of about e^spread."""
    graph_module = fold(module)
    torch.manual_seed(4)
    for first, second in pairs(graph_module):
        scale(first, second, torch.exp(spread * torch.randn(len(first.weight))))
    return graph_module


def net(*between, last=None):
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *between, last or nn.Conv2d(8, 4, 3)).eval()


def sizes(graph_module):
    """The largest weight of each channel, as the first layer gives it and as the second takes it."""
    ((first, second),) = pairs(graph_module)
    given = first.weight.abs().flatten(1).amax(1)
    if isinstance(second, nn.Linear):
        return given, second.weight.view(len(second.weight), len(given), -1).abs().amax((0, 2))
    return given, second.weight.abs().amax((2, 3)).amax(1 if second.groups > 1 else 0)


@pytest.mark.parametrize("model", [*nets.MODELS, "handwritten"])
def test_models_compute_the_same(model):
    module = nets.handwritten() if model == "handwritten" else nets.untrained(model)
    x = nets.inputs(3, 3, 32, 32)
    nets.assert_close(equalized(module)(x), module(x))
    nets.assert_close(equalized(rescaled(module))(x), module(x), 1e-4)


@pytest.mark.parametrize(
    "between",
    [(), (nn.ReLU(),), (nn.ReLU(), nn.AvgPool2d(2)), (nn.MaxPool2d(2), nn.ReLU(), nn.Dropout())],
    ids=["nothing", "relu", "average", "max"],
)
def test_channels_are_as_large_on_both_sides(between):
    module = rescaled(net(*between))
    given, taken = sizes(module)
    assert float((given / taken).log().abs().max()) > 2
    given, taken = sizes(equalized(module))
    nets.assert_close(given, taken, 1e-3)


def test_depthwise_and_flattened_neighbours_are_equalized_too():
    for last in (nn.Conv2d(8, 8, 3, groups=8), nn.Sequential(nn.Flatten(), nn.Linear(8 * 32 * 32, 4))):
        given, taken = sizes(equalized(rescaled(net(nn.ReLU(), last=last))))
        nets.assert_close(given, taken, 1e-3)


def test_an_image_that_carries_its_normalization_keeps_its_grid():
    module = attach(net(nn.ReLU()), Normalization((0.5,) * 3, (0.2, 0.25, 0.3)))
    x = nets.inputs(3, 3, 32, 32)
    found = passes.apply(fold(module, ARGUMENTS), [passes.EQUALIZE], ARGUMENTS)
    assert form_of(found) == "ones"
    nets.assert_close(found(x), module(x), 1e-4)
    assert torch.equal(found.state_dict()["normalization.weight"], OnesChannel(3, 1).weight)
    assert len(pairs(found)) == 1


class Twice(nn.Module):
    """What one convolution gives goes to two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.second(x) + self.third(x)


@pytest.mark.parametrize(
    "module",
    [net(nn.Tanh()), net(nn.ReLU6()), net(nn.Sigmoid()), net(last=nn.Conv2d(8, 8, 3, groups=2)), Twice()],
    ids=["tanh", "relu6", "sigmoid", "groups", "used twice"],
)
def test_what_lets_no_factor_through_is_left_alone(module):
    before = fold(module).state_dict()
    after = equalized(module).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_channel_that_is_switched_off_stays_finite():
    module = net(nn.ReLU())
    nets.switch_off(module[0])
    with torch.no_grad():
        module[2].weight[:, 5] = 0
    x = nets.inputs(2, 3, 32, 32)
    nets.assert_close(equalized(module)(x), module(x))


def test_a_badly_scaled_net_quantizes_as_well_as_the_one_it_was_made_of():
    source = nets.source("depthwise")
    bad = rescaled(source.model)
    images = list(source.calibration_batches())
    x = to_input(torch.from_numpy(images[0]))
    exact = source.model(x)

    def noise(model, *rewrites):
        graph = ptq.calibrate(model, source.arguments, images, (*passes.PASSES, *rewrites))
        return float((graph(x) - exact).square().mean() / exact.square().mean())

    plain = noise(source.model)
    assert noise(bad) > 30 * plain
    assert noise(bad, passes.EQUALIZE) < 3 * plain


class Width(nn.Module):
    """A linear layer that takes the columns of an image, whose channels another layer takes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.first, self.across = nn.Conv2d(3, channels, 3, padding=1), nn.Linear(32, 32)
        self.last = nn.Linear(channels, 4)

    def forward(self, x):
        return self.last(self.across(self.first(x).relu()).relu().mean((2, 3)))


@pytest.mark.parametrize("channels", [32, 6])
def test_columns_of_an_image_are_no_channels(channels):
    module = Width(channels).eval()
    x = nets.inputs(3, 3, 32, 32)
    found = passes.apply(fold(module, ARGUMENTS), [passes.EQUALIZE], ARGUMENTS)
    nets.assert_close(found(x), module(x))
    assert pairs(found) == []
