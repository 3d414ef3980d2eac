"""The rewrites: exact alone and together, and off when they are off."""

from __future__ import annotations

import copy
from itertools import combinations

import pytest
import torch
from torch import nn

from edgecnn.errors import CheckFailedError, UnknownNameError
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes
from edgecnn.quantize.fold import fold
from edgecnn.quantize.layers import GlobalMean
from edgecnn.quantize.passes.columns import GroupColumns, UngroupColumns
from edgecnn.quantize.passes.flatten import FlattenChannelsLast
from edgecnn.quantize.passes.pool import PoolConv2d
from tests import nets

SETS = [names for size in range(len(passes.PASSES) + 1) for names in combinations(passes.PASSES, size)]


def rewritten(module, names, size=(3, 32, 32)):
    """The folded model after some passes, checked to compute the same for more images than one."""
    channels, height, width = size
    x = nets.inputs(3, *size)
    expected = module(x)
    result = passes.apply(fold(module), names, ModelArguments(10, channels, (height, width)))
    nets.assert_close(result(x), expected)
    return result


def count(graph_module, kind):
    return sum(isinstance(part, kind) for part in graph_module.modules())


def net(*layers):
    torch.manual_seed(3)
    return nn.Sequential(*copy.deepcopy(layers)).eval()


@pytest.mark.parametrize("names", SETS, ids=lambda names: "+".join(names) or "none")
@pytest.mark.parametrize("model", [*nets.MODELS, "handwritten"])
def test_models_compute_the_same_after_every_set_of_passes(model, names):
    module = nets.handwritten() if model == "handwritten" else nets.untrained(model)
    graph_module = rewritten(module, names)
    merges = model in ("depthwise", "depth_res")
    pairs = model != "resnet8" and ("merge_separable" in names or not merges)
    assert count(graph_module, FlattenChannelsLast) == ("flatten_order" in names)
    assert (count(graph_module, (PoolConv2d, GlobalMean)) > 0) == ("pool_as_conv" in names)
    assert (count(graph_module, nn.AvgPool2d) > 0) == ("pool_as_conv" not in names)
    assert any(part.groups == 3 for part in graph_module.modules() if isinstance(part, nn.Conv2d)) == (
        merges and "merge_separable" not in names
    )
    assert count(graph_module, GroupColumns) == count(graph_module, UngroupColumns)
    quads = model == "lenet" and "quad_columns" in names
    assert count(graph_module, GroupColumns) == (quads or (pairs and "pair_columns" in names))


def test_a_name_that_is_no_pass_is_refused():
    with pytest.raises(UnknownNameError, match="unknown pass 'pair_colums'; did you mean 'pair_columns'?"):
        passes.apply(fold(nets.untrained("lenet")), ["flatten_order", "pair_colums"], ModelArguments())


# ------------------------------------------------------------------------------------------------ flatten_order


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 1, 1), (5, 1, 1), (1, 3, 5), (7, 3, 5), (4, 6, 2)])
def test_flatten_order_of_any_shape(channels, height, width):
    layers = net(nn.Conv2d(3, channels, 1), nn.Flatten(), nn.Linear(channels * height * width, 4))
    assert count(rewritten(layers, ["flatten_order"], (3, height, width)), FlattenChannelsLast) == 1


class Calls(nn.Module):
    """Flattens as it is told, between a convolution and linear layers."""

    def __init__(self, flatten, features, after=None):
        super().__init__()
        torch.manual_seed(4)
        self.conv, self.flatten, self.after = nn.Conv2d(3, 4, 1), flatten, after
        self.one, self.two = nn.Linear(features, 5), nn.Linear(features, 5)

    def forward(self, x):
        x = self.flatten(self.conv(x))
        return self.one(x) if self.after is None else self.after(self, x)


@pytest.mark.parametrize("flatten", [lambda x: torch.flatten(x, 1), lambda x: x.flatten(1)])
def test_flatten_as_function_and_method(flatten):
    assert count(rewritten(Calls(flatten, 80), ["flatten_order"], (3, 4, 5)), FlattenChannelsLast) == 1


@pytest.mark.parametrize(
    "module",
    [
        Calls(nn.Flatten(2), 20),
        Calls(lambda x: torch.flatten(x, 2), 20),
        Calls(lambda x: torch.flatten(x, 1, 2), 5),
        Calls(nn.Flatten(), 80, lambda self, x: self.one(x) + self.two(x)),
        Calls(nn.Flatten(), 80, lambda self, x: self.one(torch.relu(x))),
        Calls(nn.Flatten(), 80, lambda self, x: x),
        Calls(lambda x: x, 5),
    ],
    ids=["module from 2", "function from 2", "function to 2", "two users", "relu between", "no linear", "none"],
)
def test_flatten_order_leaves_other_shapes_alone(module):
    assert count(rewritten(module.eval(), ["flatten_order"], (3, 4, 5)), FlattenChannelsLast) == 0


# ------------------------------------------------------------------------------------------------- pool_as_conv


@pytest.mark.parametrize(
    ("pool", "kind"),
    [
        (nn.AvgPool2d(2), PoolConv2d),
        (nn.AvgPool2d(3, stride=1), PoolConv2d),
        (nn.AvgPool2d((2, 3), stride=(1, 2)), PoolConv2d),
        (nn.AvgPool2d(3, stride=2), PoolConv2d),
        (nn.AvgPool2d((7, 2)), PoolConv2d),
        (nn.AvgPool2d((7, 8)), GlobalMean),
        (nn.AvgPool2d((7, 8), stride=1), GlobalMean),
        (nn.AvgPool2d(3, padding=1), nn.AvgPool2d),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), nn.AvgPool2d),
        (nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d),
        (nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d),
        (nn.MaxPool2d(2), nn.MaxPool2d),
    ],
    ids=str,
)
def test_pool_as_conv(pool, kind):
    graph_module = rewritten(net(nn.Conv2d(3, 5, 3, padding=1), pool), ["pool_as_conv"], (3, 7, 8))
    pools = (PoolConv2d, GlobalMean, nn.AvgPool2d, nn.MaxPool2d)
    assert [type(part) for part in graph_module.modules() if isinstance(part, pools)] == [kind]


# ---------------------------------------------------------------------------------------------- merge_separable


def depth(channels, kernel=3, **settings):
    return nn.Conv2d(channels, channels, kernel, groups=channels, **settings)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (depth(3), nn.Conv2d(3, 7, 1)),
        (depth(3, bias=False), nn.Conv2d(3, 7, 1)),
        (depth(3), nn.Conv2d(3, 7, 1, bias=False)),
        (depth(3, bias=False), nn.Conv2d(3, 1, 1, bias=False)),
        (depth(1, 5), nn.Conv2d(1, 2, 1)),
        (depth(4, (3, 5), padding=(0, 2)), nn.Conv2d(4, 9, 1)),
        (depth(3, 5, padding=3, dilation=2), nn.Conv2d(3, 7, 1)),
        (depth(3, 3, padding=1, stride=2), nn.Conv2d(3, 7, 1)),
        (depth(3, 3, padding="same"), nn.Conv2d(3, 7, 1)),
        (depth(2, 1), nn.Conv2d(2, 2, 1)),
    ],
    ids=str,
)
def test_merge_separable(first, second):
    graph_module = rewritten(net(first, second), ["merge_separable"], (first.in_channels, 9, 11))
    assert count(graph_module, nn.Conv2d) == 1


@pytest.mark.parametrize(
    "layers",
    [
        [depth(5), nn.Conv2d(5, 7, 1)],
        [depth(3), nn.ReLU(), nn.Conv2d(3, 7, 1)],
        [depth(3), nn.Conv2d(3, 7, 1, stride=2)],
        [depth(3), nn.Conv2d(3, 7, 1, padding=1)],
        [depth(3), nn.Conv2d(3, 6, 1, groups=3)],
        [depth(3), nn.Conv2d(3, 7, 3)],
        [nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 7, 1)],
        [nn.Conv2d(3, 3, 3), nn.Conv2d(3, 7, 1)],
        [depth(3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 7, 1)],
    ],
    ids=[
        "5 channels", "relu between", "strided", "padded", "grouped", "no pointwise", "multiplier", "no depthwise",
        "reflecting",
    ],
)  # fmt: skip
def test_merge_separable_leaves_others_alone(layers):
    assert count(rewritten(net(*layers), ["merge_separable"], (layers[0].in_channels, 9, 11)), nn.Conv2d) == 2


def test_merge_separable_leaves_a_depthwise_convolution_that_is_used_twice():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.depth, self.point = depth(3, padding=1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            y = self.depth(x)
            return self.point(y) + y

    assert count(rewritten(Net().eval(), ["merge_separable"], (3, 6, 6)), nn.Conv2d) == 2


# ------------------------------------------------------------------------------------------------- pair_columns


@pytest.mark.parametrize("pad", range(4))
@pytest.mark.parametrize("kernel", range(1, 8))
def test_pair_columns_for_every_kernel_padding_and_width(kernel, pad):
    for width in range(max(1, kernel - 2 * pad), 15):
        convolution = nn.Conv2d(3, 6, (min(kernel, 3), kernel), padding=(1, pad))
        graph_module = rewritten(net(convolution, nn.ReLU()), ["pair_columns"], (3, 5, width))
        width_out = width + 2 * pad - kernel + 1
        possible = kernel > 1 and width % 2 == 0 and width_out % 2 == 0
        assert count(graph_module, GroupColumns) == possible, width
        if possible:
            (paired,) = [part for part in graph_module.modules() if isinstance(part, nn.Conv2d)]
            assert paired.kernel_size[1] <= kernel // 2 + 2


@pytest.mark.parametrize(
    ("convolution", "pairs"),
    [
        (nn.Conv2d(4, 8, 3), True),
        (nn.Conv2d(1, 1, 3, bias=False), True),
        (nn.Conv2d(3, 6, (1, 5), padding=(0, 2)), True),
        (nn.Conv2d(5, 8, 3), False),
        (nn.Conv2d(4, 9, 3), False),
        (nn.Conv2d(4, 8, 3, stride=(1, 2), padding=1), False),
        (nn.Conv2d(4, 8, 3, stride=(2, 1), padding=1), False),
        (nn.Conv2d(4, 8, 3, dilation=2, padding=2), False),
        (nn.Conv2d(4, 8, 3, groups=2), False),
        (nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), False),
        (nn.Conv2d(4, 8, 3, padding="same"), False),
        (nn.Conv2d(4, 8, (3, 1), padding=(1, 0)), False),
    ],
    ids=str,
)
def test_pair_columns_takes_only_small_plain_convolutions(convolution, pairs):
    graph_module = rewritten(net(convolution), ["pair_columns"], (convolution.in_channels, 6, 8))
    assert count(graph_module, GroupColumns) == pairs


@pytest.mark.parametrize("pad", range(5))
@pytest.mark.parametrize("kernel", range(1, 8))
def test_quad_columns_where_no_tap_is_partly_empty(kernel, pad):
    for width in range(max(1, kernel - 2 * pad), 25):
        convolution = nn.Conv2d(3, 6, (min(kernel, 3), kernel), padding=(1, pad))
        graph_module = rewritten(net(convolution, nn.ReLU()), ["quad_columns"], (3, 5, width))
        possible = kernel == 5 and pad in (0, 4) and width % 4 == 0 and width > 4 - 2 * pad
        assert count(graph_module, GroupColumns) == possible, width
        if possible:
            (grouped,) = [part for part in graph_module.modules() if isinstance(part, nn.Conv2d)]
            assert (grouped.in_channels, grouped.out_channels, grouped.kernel_size[1]) == (12, 24, 2)
            both = rewritten(net(convolution, nn.ReLU()), ["quad_columns", "pair_columns"], (3, 5, width))
            assert count(both, GroupColumns) == 1


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.Tanh()], ids=str)
def test_pair_columns_keeps_the_activation_with_its_convolution(activation):
    graph_module = rewritten(net(nn.Conv2d(3, 6, 3), activation, nn.AvgPool2d(2)), ["pair_columns"], (3, 6, 8))
    calls = [node.target for node in graph_module.graph.nodes if node.op == "call_module"]
    order = [type(graph_module.get_submodule(target)) for target in calls]
    assert order == [GroupColumns, nn.Conv2d, type(activation), UngroupColumns, nn.AvgPool2d]


def test_pair_columns_keeps_a_relu_that_is_a_function():
    graph_module = rewritten(nets.handwritten(), ["pair_columns"])
    names = [node.name for node in graph_module.graph.nodes]
    assert names[1:5] == ["conv1_pair", "conv1", "relu", "conv1_unpair"]


def test_pair_columns_leaves_a_convolution_on_what_is_joined_or_added_alone():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.joined = nn.Conv2d(3, 1, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return self.joined(torch.cat([x, self.image(x)], 1))

    assert count(rewritten(Net().eval(), ["pair_columns"], (3, 6, 8)), GroupColumns) == 0


def test_pair_columns_with_two_users_of_the_convolution():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 6, 3), nn.ReLU()

        def forward(self, x):
            y = self.conv(x)
            return self.relu(y) + y

    assert count(rewritten(Net().eval(), ["pair_columns"], (3, 6, 8)), GroupColumns) == 1


def test_a_rewrite_that_changes_what_is_computed_is_refused(monkeypatch):
    def halve(graph_module):
        for part in graph_module.modules():
            if isinstance(part, nn.Linear):
                part.weight.data[0] /= 2

    monkeypatch.setitem(passes._KNOWN, "flatten_order", halve)
    with pytest.raises(CheckFailedError, match="the rewrite 'flatten_order' changes what the model computes"):
        passes.apply(fold(nets.untrained("lenet")), ["flatten_order"], ModelArguments())
