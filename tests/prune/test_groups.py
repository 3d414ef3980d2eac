"""Channels that go together: what is found, what stays, and that a network without some of them is still one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from edgecnn import models
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments, cost
from edgecnn.models.widths import resize, widths_of
from edgecnn.prune import importance
from edgecnn.prune.groups import Channels, narrower
from edgecnn.prune.plan import shape_of
from tests import nets, own_nets

ARGUMENTS = ModelArguments()


def names(model: nn.Module) -> set[str]:
    return {group.name for group in Channels(model, ARGUMENTS).groups}


def ranked(channels: Channels) -> dict[str, Tensor]:
    return importance.scores(channels, importance.L2, nets.digits().train)


def test_the_images_depthwise_convolution_and_the_classifier_stay() -> None:
    channels = Channels(models.create("depth_res"), ARGUMENTS)
    touched = {name for group in channels.groups for name in group.outputs}
    assert "conv1.depth" not in touched
    assert "fc3" not in touched
    assert {"conv1.point", "conv2.depth", "fc2"} <= touched


def test_a_residual_block_and_a_depthwise_convolution_share_channels_with_what_is_before_them() -> None:
    (group,) = [
        each for each in Channels(models.create("depth_res"), ARGUMENTS).groups if "conv2.point" in each.outputs
    ]
    assert group.channels == 16
    assert {"res2.conv2", "res2.bn2", "conv3.depth", "bn2"} <= group.outputs.keys()
    assert {"res2.conv1", "conv3.depth", "conv3.point"} <= group.inputs.keys()


def test_a_channel_before_the_flattened_image_takes_all_its_pixels_along() -> None:
    (group,) = [each for each in Channels(models.create("lenet"), ARGUMENTS).groups if "conv2" in each.outputs]
    assert group.inputs == {"fc1": 25}


@pytest.mark.parametrize("model", [*nets.MODELS, "teacher"])
def test_what_is_left_is_what_was_planned_and_comes_back_from_its_widths(model: str) -> None:
    whole = nets.untrained(model)
    channels = Channels(whole, ARGUMENTS)
    shape = shape_of(whole, ARGUMENTS, channels.groups)
    assert shape.macs(shape.whole) == cost.macs(whole, ARGUMENTS)
    sizes = {group.name: max(2, group.channels // 2) for group in channels.groups}
    cut = channels.cut(sizes, ranked(channels))
    planned = narrower(widths_of(whole), channels.groups, sizes)
    assert widths_of(cut) == planned
    assert shape.macs(sizes) == cost.macs(cut, ARGUMENTS)
    again = resize(models.create(model), planned, ARGUMENTS).eval()
    again.load_state_dict(cut.state_dict())
    images = nets.inputs(4, 3, 32, 32)
    assert again(images).equal(cut.eval()(images))
    assert whole(images).shape == (4, 10)  # the original is as it was


def test_channels_that_do_nothing_are_the_first_to_go_and_nobody_misses_them() -> None:
    model = nets.untrained("resnet8")
    conv, norm = model.get_submodule("res2.conv1"), model.get_submodule("res2.bn1")
    following = model.get_submodule("res2.conv2")
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and isinstance(following, nn.Conv2d)
    with torch.no_grad():
        for tensor in (conv.weight, norm.weight, norm.bias):
            tensor[5:21] = 0
        following.weight[:, 5:21] = 0
    channels = Channels(model, ARGUMENTS)
    sizes = {group.name: group.channels for group in channels.groups} | {"res2.conv1": 16}
    cut = channels.cut(sizes, ranked(channels)).eval()
    images = nets.inputs(4, 3, 32, 32)
    nets.assert_close(cut(images), model(images))


class Grouped(nn.Sequential):
    """A convolution in two groups between others."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 16, 3), nn.LayerNorm([26, 26]),
            nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, 10),
        )  # fmt: skip


def test_channels_through_layers_that_nobody_can_resize_stay() -> None:
    assert names(Grouped()) == {"4", "6"}


class Shuffled(nn.Module):
    """Channels become pixels after the first layer, and change places after the third."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.up = nn.Conv2d(3, 16, 3), nn.PixelShuffle(2)
        self.second, self.third, self.fourth = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 8, 3)
        self.places, self.head = nn.ChannelShuffle(4), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(torch.relu(self.second(self.up(self.first(x)))))
        return self.head(self.fourth(self.places(x)).mean((2, 3)))


def test_channels_that_become_pixels_stay() -> None:
    assert names(Shuffled()) == {"second", "third", "fourth"}


def test_a_net_whose_channels_change_places_between_two_layers_is_refused() -> None:
    channels = Channels(Shuffled(), ARGUMENTS)
    sizes = {"second": 4, "third": 16, "fourth": 8}
    scores = ranked(channels)
    assert widths_of(channels.cut(sizes, scores))["third"] == (4, 16)
    channels = Channels(Shuffled(), ARGUMENTS)
    with pytest.raises(UsageError, match="cannot be pruned: something between its layers reorders or mixes channels"):
        channels.cut(sizes | {"third": 8}, scores)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_layers_whose_weights_are_made_for_each_image_keep_their_channels(norm: Callable[..., nn.Module]) -> None:
    layers = [nn.Conv2d(3, 8, 3), norm(nn.Conv2d(8, 8, 3)), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    channels = Channels(model, ARGUMENTS)
    assert {group.name for group in channels.groups} == {"2", "3"}
    cut = channels.cut({"2": 4, "3": 8}, ranked(channels))
    assert widths_of(cut)["3"] == (4, 8)


class Concatenated(nn.Module):
    """Two branches side by side, and one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 4, 3)
        self.both = nn.Conv2d(20, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.one(x), self.two(x)
        return self.head(self.both(torch.cat([one, two, one], 1)).mean((2, 3)))


def test_branches_that_are_joined_lose_channels_one_by_one() -> None:
    model = Concatenated().eval()
    channels = Channels(model, ARGUMENTS)
    sizes = {"one": 4, "two": 4, "both": 8}
    cut = channels.cut(sizes, ranked(channels))
    assert widths_of(cut) == widths_of(model) | {"one": (3, 4), "both": (12, 8)}


@pytest.mark.parametrize("kind", [own_nets.Gated, own_nets.Same, own_nets.Layered, own_nets.Mixed])
def test_other_peoples_nets_are_cut_as_planned(kind: type[nn.Module]) -> None:
    model, arguments = own_nets.build(kind), own_nets.ARGUMENTS
    channels = Channels(model, arguments)
    shape = shape_of(model, arguments, channels.groups)
    sizes = {group.name: max(2, group.channels // 2) for group in channels.groups}
    cut = channels.cut(sizes, ranked(channels))
    assert widths_of(cut) == shape.at(sizes)
    assert cost.macs(cut, arguments) == shape.macs(sizes) < cost.macs(model, arguments)


@pytest.mark.parametrize("kind", [own_nets.Shuffled, own_nets.Seldom])
def test_a_net_whose_channels_do_not_stay_where_they_are_is_refused(kind: type[nn.Module]) -> None:
    channels = Channels(own_nets.build(kind), own_nets.ARGUMENTS)
    sizes = {group.name: max(2, group.channels // 2) for group in channels.groups}
    with pytest.raises(UsageError, match="this model cannot be pruned: "):
        channels.cut(sizes, ranked(channels))
