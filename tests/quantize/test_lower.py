"""What models write in many ways becomes a graph of few kinds of layers that computes the same."""

from __future__ import annotations

import itertools
import operator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.models import ModelArguments
from edgecnn.quantize.fold import fold
from edgecnn.quantize.layers import (
    ELU,
    ChannelShuffle,
    GlobalMean,
    GroupNorm,
    Permute,
    Reshape,
    Scale,
    Slice,
    UnitClamp,
    ZeroPad,
)
from edgecnn.quantize.trace import lost
from tests import nets, own_nets

SIZE = ModelArguments(4, 8, (9, 12))


class Written(nn.Module):
    """A model whose forward is ``function(image, model)``; it has a convolution, and a parameter for each channel."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.gamma = nn.Parameter(torch.rand(8, 1, 1) + 0.5)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(x, self)


def kinds(graph_module):
    """What is called: types of layers, and functions."""
    return [
        type(graph_module.get_submodule(node.target)) if node.op == "call_module" else node.target
        for node in graph_module.graph.nodes
        if node.op not in ("placeholder", "output", "get_attr")
    ]


def folded(function, **layers):
    """The graph of a function, which must compute the same for any number of images."""
    torch.manual_seed(5)
    model = nets.with_statistics(Written(function, **layers))
    graph_module = fold(model, SIZE)
    x = nets.inputs(5, 8, 9, 12)
    nets.assert_close(graph_module(x), model(x))
    return kinds(graph_module)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, m: F.relu6(m.conv(x)), [nn.Conv2d, nn.ReLU6]),
        (lambda x, m: torch.relu(input=m.conv(input=x)), [nn.Conv2d, nn.ReLU]),
        (lambda x, m: torch.add(x, m.conv(x), alpha=2), [nn.Conv2d, operator.add]),
        (lambda x, m: m.conv(x).sub(other=x, alpha=0.5), [nn.Conv2d, Scale, operator.sub]),
        (lambda x, m: torch.sub(m.conv(x), 1.0, alpha=3), [nn.Conv2d]),
        (lambda x, m: m.conv(x).clamp(0, 6), [nn.Conv2d, nn.ReLU6]),
        (lambda x, m: m.conv(x).clamp(min=0), [nn.Conv2d, nn.ReLU]),
        (lambda x, m: F.hardtanh(x, 0.0, 1.0), [UnitClamp]),
        (lambda x, m: F.hardsigmoid(m.conv(x)), [nn.Conv2d, UnitClamp]),
        (lambda x, m: F.hardsigmoid(x), [Scale, UnitClamp]),
        (lambda x, m: F.hardswish(x), [nn.Hardswish]),
        (lambda x, m: F.silu(x), [nn.Sigmoid, operator.mul]),
        (lambda x, m: F.elu(x, 0.5), [ELU]),
        (lambda x, m: F.adaptive_max_pool2d(x, 3), [nn.MaxPool2d]),
        (lambda x, m: F.gelu(x, approximate="tanh"), [nn.GELU]),
        (lambda x, m: x.mean((2, 3), keepdim=True), [GlobalMean]),
        (lambda x, m: x.mean(dim=[-1, -2]), [GlobalMean, nn.Flatten]),
        (lambda x, m: F.adaptive_avg_pool2d(x, (1, 1)), [GlobalMean]),
        (lambda x, m: F.adaptive_avg_pool2d(x, (3, 4)), [nn.AvgPool2d]),
        (lambda x, m: F.adaptive_avg_pool2d(x, (9, 12)) + x, [operator.add]),
        (lambda x, m: x.view(x.size(0), -1), [nn.Flatten]),
        (lambda x, m: x.reshape(x.shape[0], 2, 4, 9, 12), [Reshape]),
        (lambda x, m: x.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1), [GlobalMean, Reshape, nn.Flatten]),
        (lambda x, m: x.permute(0, 2, 3, 1), [Permute]),
        (lambda x, m: x.transpose(1, -1), [Permute]),
        (lambda x, m: x[:, 2:5], [Slice]),
        (lambda x, m: x[:, :, ::2, 1:], [Slice, Slice]),
        (lambda x, m: x[..., ::2], [Slice]),
        (lambda x, m: x[:, 1], [Slice, Reshape]),
        (lambda x, m: x[..., -1, :], [Slice, Reshape]),
        (lambda x, m: torch.cat(x.chunk(4, 1)[1:3], 1), [Slice, Slice, torch.cat]),
        (lambda x, m: torch.cat(x.chunk(2, 1), 2), [Slice, Slice, torch.cat]),
        (lambda x, m: torch.cat([x.split([3, 5], 1)[1], x.split(3, dim=1)[0]], 1), [Slice, Slice, torch.cat]),
        (lambda x, m: m.conv(x) * m.gamma, [nn.Conv2d]),
        (lambda x, m: m.conv(x) * 3, [nn.Conv2d]),
        (lambda x, m: 1 - m.conv(x) / 2, [nn.Conv2d]),
        (lambda x, m: x.sub(0.5), [Scale]),
        (lambda x, m: x - m.conv(x), [nn.Conv2d, operator.sub]),
        (lambda x, m: F.pad(x, (1, 0, 2, 1)), [ZeroPad]),
        (lambda x, m: m.conv(F.pad(x, (1, 1, 2, 2))), [nn.Conv2d]),
        (lambda x, m: m.conv(F.pad(x, (0, 1, 0, 1))), [ZeroPad, nn.Conv2d]),
        (lambda x, m: F.max_pool2d(F.relu(x), 3, 2, 1), [nn.ReLU, ZeroPad, nn.MaxPool2d]),
        (lambda x, m: F.max_pool2d(x, 3, 2, 1), [nn.MaxPool2d]),
        (lambda x, m: F.max_pool2d(F.relu(x), 2, ceil_mode=True), [nn.ReLU, ZeroPad, nn.MaxPool2d]),
        (lambda x, m: F.max_pool2d(x, 3, 3, ceil_mode=True), [nn.MaxPool2d]),
        (lambda x, m: F.avg_pool2d(x, 3, 3, 0, True, False), [nn.AvgPool2d]),
        (lambda x, m: F.avg_pool2d(x, 3, 1, 1), [ZeroPad, nn.AvgPool2d]),
        (
            lambda x, m: F.avg_pool2d(F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), 3, 2, 1),
            [ZeroPad, nn.AvgPool2d, operator.mul, ZeroPad, nn.AvgPool2d],
        ),
        (
            lambda x, m: F.max_pool2d(F.avg_pool2d(x, 2, divisor_override=5), 2),
            [nn.AvgPool2d, Scale, nn.MaxPool2d],
        ),
        (lambda x, m: F.pad(x.flatten(2), (0, 0, 1, 0)), [Reshape, nn.ZeroPad2d]),
        (lambda x, m: F.max_pool2d(x, 3, return_indices=True)[0], [nn.MaxPool2d]),
        (lambda x, m: F.adaptive_max_pool2d(x, 3, return_indices=True)[0], [nn.MaxPool2d]),
        (lambda x, m: torch.clamp(x, max=m.gamma), [torch.clamp]),
        (lambda x, m: torch.clamp(x, 0.5, 0.5), [torch.clamp]),
        (lambda x, m: F.hardtanh(x, 0.5, 0.5), [F.hardtanh]),
        (lambda x, m: x.clamp(min=m.gamma.min() * 0), [nn.ReLU]),
        (lambda x, m: x.clamp(m.gamma.min() * 0, 6 * torch.ones(1)), [nn.ReLU6]),
        (lambda x, m: x.mean((2, 3), keepdims=True), [GlobalMean]),
        (lambda x, m: x.mean(axis=(2, 3)), [GlobalMean, nn.Flatten]),
        (lambda x, m: torch.cat([x, x], axis=1), [torch.cat]),  # type: ignore[call-arg]
        (lambda x, m: torch.permute(input=x, dims=(0, 2, 3, 1)), [Permute]),
        (lambda x, m: m.conv(x)[()], [nn.Conv2d]),
        (lambda x, m: m.conv(x.float()).to(torch.float32), [nn.Conv2d]),
        (lambda x, m: x.double(), ["double"]),
        (lambda x, m: torch.rsub(m.conv(x), 2, alpha=3), [nn.Conv2d]),
        (lambda x, m: torch.rsub(input=x, other=m.conv(x)), [nn.Conv2d, operator.sub]),
        (lambda x, m: x.add(m.gamma.expand(8, 9, 12)), ["expand", operator.add]),
        (lambda x, m: x * F.adaptive_avg_pool2d(x, 1).expand_as(x), [GlobalMean, operator.mul]),
        (lambda x, m: x.mean((2, 3), keepdim=True).expand(-1, -1, 9, 12) - x, [GlobalMean, operator.sub]),
        (lambda x, m: m.conv(x[:, :1].expand(-1, 8, -1, -1)), [Slice, "expand", nn.Conv2d]),
        (lambda x, m: F.dropout(x, 0.5, m.training) + F.dropout2d(x, training=m.training), [operator.add]),
        (lambda x, m: x.softmax(1), ["softmax"]),
    ],
)
def test_functions_become_layers(function, expected):
    assert folded(function) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.BatchNorm2d(8), [Scale]),
        (nn.SiLU(inplace=True), [nn.Sigmoid, operator.mul]),
        (nn.Hardsigmoid(), [Scale, UnitClamp]),
        (nn.ChannelShuffle(4), [ChannelShuffle]),
        (nn.ZeroPad2d((1, 2, 0, 1)), [ZeroPad]),
        (nn.AdaptiveAvgPool2d(3), [nn.AvgPool2d]),
        (nn.AdaptiveMaxPool2d(1), [nn.MaxPool2d]),
        (nn.AdaptiveMaxPool2d((3, 4)), [nn.MaxPool2d]),
        (nn.AvgPool2d(3, count_include_pad=False, ceil_mode=True), [nn.AvgPool2d]),
        (nn.AvgPool2d(2, ceil_mode=True), [ZeroPad, nn.AvgPool2d, operator.mul]),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), [ZeroPad, nn.AvgPool2d, operator.mul]),
        (nn.AvgPool2d(3, 2, 1, divisor_override=5), [ZeroPad, nn.AvgPool2d, Scale]),
        (nn.Dropout3d(), []),
        (nn.AlphaDropout(), []),
        (nn.FeatureAlphaDropout(), []),
        (nn.GroupNorm(2, 8), [GroupNorm]),
        (nn.ELU(0.7), [ELU]),
        (nn.GroupNorm(4, 8, affine=False), [GroupNorm]),
        (nn.InstanceNorm2d(8, affine=True), [GroupNorm]),
        (nn.Conv2d(8, 4, 3, padding="valid"), [nn.Conv2d]),
        (nn.Conv2d(8, 4, 3, padding="same", dilation=2), [nn.Conv2d]),
        (nn.Conv2d(8, 4, (4, 3), padding="same"), [ZeroPad, nn.Conv2d]),
    ],
)
def test_layers_become_simpler_ones(layer, expected):
    assert folded(lambda x, m: m.layer(x), layer=layer) == expected


def test_a_batchnorm_of_a_linear_layer_is_folded():
    assert folded(
        lambda x, m: m.bn(m.fc(x.mean((2, 3)))), fc=nn.Linear(8, 5), bn=nn.BatchNorm1d(5)
    ) == [GlobalMean, nn.Flatten, nn.Linear]  # fmt: skip


@pytest.mark.parametrize("affine", [True, False])
def test_a_group_norm_may_be_of_anything_that_has_channels(affine):
    norm = nn.GroupNorm(2, 8, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    assert folded(lambda x, m: m.norm(x.flatten(2)), norm=norm) == [Reshape, GroupNorm]
    assert folded(lambda x, m: m.norm(x.mean((2, 3))), norm=norm) == [GlobalMean, nn.Flatten, GroupNorm]


def test_the_batch_norm_of_torch_orders_its_weights_otherwise():
    def forward(x, m):
        return torch.batch_norm(
            m.conv(x), m.norm.weight, m.norm.bias, m.norm.running_mean, m.norm.running_var, False, 0.1, 1e-5, True
        )

    assert folded(forward, norm=nn.BatchNorm2d(8)) == [nn.Conv2d]


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, return_indices=True), nn.AdaptiveMaxPool2d(3, return_indices=True)])
def test_a_pool_that_also_says_where_its_values_were_is_a_plain_one(pool):
    def forward(x, m):
        first, _ = m.pool(F.relu(x))
        second, _ = m.pool(m.conv(x))
        return first + second

    found = folded(forward, pool=pool)
    assert found == [nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.MaxPool2d, operator.add]


def test_so_it_is_for_torch_export_of_which_all_adaptive_pools_say_it(monkeypatch):
    monkeypatch.setattr("edgecnn.quantize.trace._Tracer", None)  # which then cannot trace anything
    assert folded(lambda x, m: m.pool(x)[0], pool=nn.MaxPool2d(3, return_indices=True)) == [nn.MaxPool2d]
    assert folded(lambda x, m: m.pool(x), pool=nn.AdaptiveMaxPool2d(3)) == [nn.MaxPool2d]


def test_a_number_less_an_image_is_part_of_the_layer_before_for_torch_export_too(monkeypatch):
    monkeypatch.setattr("edgecnn.quantize.trace._Tracer", None)
    assert folded(lambda x, m: 2 - m.conv(x)) == [nn.Conv2d]


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, return_indices=True), lambda x: F.max_pool2d_with_indices(x, [3, 3])])
def test_a_pool_of_which_the_places_are_used_is_a_usage_error(pool):
    def forward(x, m):
        values, places = m.pool(x) if isinstance(pool, nn.Module) else pool(x)
        return F.max_unpool2d(values, places, [3, 3])

    with pytest.raises(UsageError, match="'(pool|max_pool2d_with_indices)' is a pool of which the model also uses"):
        folded(forward, **({"pool": pool} if isinstance(pool, nn.Module) else {}))


@pytest.mark.parametrize("kind", own_nets.KINDS)
def test_whole_models_compute_what_they_did(kind):
    model = own_nets.build(kind)
    x = nets.inputs(3, 3, 32, 32)
    nets.assert_close(fold(model, own_nets.ARGUMENTS)(x), model(x))


def test_nothing_is_computed_in_place_since_a_tensor_may_have_other_readers():
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1), nn.Hardswish(inplace=True))
    parts = [part for part in fold(model, SIZE).modules() if hasattr(part, "inplace")]
    assert len(parts) == 2
    assert not any(part.inplace for part in parts)


@pytest.mark.parametrize(
    "write",
    [nn.ReLU(inplace=True), F.relu_, lambda x: F.relu(x, inplace=True), lambda x: x.relu_(), lambda x: x.mul_(0.5)],
)
def test_what_takes_a_tensor_after_it_was_written_over_takes_what_was_written(write):
    def forward(x, m):
        y = m.conv(x)
        before = y * 2
        written = m.write(y) if isinstance(write, nn.Module) else write(y)
        return written + 3 * y + before  # y is written by now, before is not

    folded(forward, **({"write": write} if isinstance(write, nn.Module) else {}))


def test_what_is_written_over_may_be_named_in_the_call():
    def forward(x, m):
        y = m.conv(x)
        return m.relu(input=y) + y

    assert folded(forward, relu=nn.ReLU(inplace=True)) == [nn.Conv2d, nn.ReLU, operator.add]


def test_layers_that_share_weights_have_weights_of_their_own():
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
    model[1].weight = model[0].weight
    first, second = (part for part in fold(nets.with_statistics(model), SIZE).modules() if type(part) is nn.Conv2d)
    assert first.weight.data_ptr() != second.weight.data_ptr()
    unfolded = nn.Sequential(*model[:2])
    first, second = (part for part in fold(unfolded, SIZE).modules() if type(part) is nn.Conv2d)
    assert first.weight is not second.weight
    nets.assert_close(first.weight, second.weight)


def test_a_shuffle_written_with_views_is_one_layer():
    found = kinds(fold(own_nets.build(own_nets.Shuffled), own_nets.ARGUMENTS))
    assert found.count(ChannelShuffle) == 1
    assert Reshape not in found and Permute not in found


def test_what_torch_fx_cannot_trace_goes_through_torch_export_and_says_so():
    graph_module = fold(own_nets.build(own_nets.Same), own_nets.ARGUMENTS)
    assert "torch.fx cannot trace this model" in lost(graph_module)
    assert "frozen" in lost(graph_module)
    names = [node.target for node in graph_module.graph.nodes if node.op == "call_module"]
    assert {"stem", "depth", "head"} <= set(names), "the layers keep the names they have in the model"
    assert lost(fold(own_nets.build(own_nets.Gated), own_nets.ARGUMENTS)) == ""


@pytest.mark.parametrize("size", [1, 1e-4])  # as shares of some thousand classes are
def test_a_model_that_does_something_else_each_time_is_found_out(size):
    class Moody(nn.Module):
        calls = itertools.count(1)

        def forward(self, x):
            return x.mean((2, 3)) * next(self.calls) * size

    with pytest.raises(CheckFailedError, match="gives other logits than the model"):
        fold(Moody(), SIZE)
