"""Where quantizers stand, which of them are shared, and which are fixed."""

from __future__ import annotations

import copy
import operator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgecnn.errors import CheckFailedError
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.normalization import attach
from edgecnn.quantize import passes
from edgecnn.quantize.floats import float_layers_of
from edgecnn.quantize.fold import fold
from edgecnn.quantize.qdq import borders_of, boundaries_of, float_operations, insert_quantizers
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8
from edgecnn.quantize.simulate import ActivationQuantizer, Affine, AverageQuantizer, weight_bits
from tests import nets, own_nets

ARGUMENTS = ModelArguments()


def quantized(module, names=(), size=(3, 8, 8), floats=()):
    arguments = ModelArguments(10, size[0], size[1:])
    return insert_quantizers(passes.apply(fold(module.eval()), names, arguments), float_layers=floats)


def order(graph_module):
    """Names of what is called, quantizers without their prefix in angle brackets."""
    names = [str(node.target) for node in graph_module.graph.nodes if node.op == "call_module"]
    return [f"<{name.removeprefix('quantizer_')}>" if name.startswith("quantizer_") else name for name in names]


def affine(graph_module, name):
    part = graph_module.get_submodule(f"quantizer_{name}")
    assert isinstance(part, ActivationQuantizer)
    return part.affine()


def named(**layers):
    net = nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, layer)
    return net


def test_pools_and_flatten_share_and_a_relu_stays_with_its_layer():
    net = named(
        conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), top=nn.MaxPool2d(2), mean=nn.AvgPool2d(3), flat=nn.Flatten(),
        fc=nn.Linear(4, 5),
    )  # fmt: skip
    assert order(quantized(net)) == [
        "<input_1>", "conv", "relu", "<relu>", "top", "<relu>", "mean", "<mean>", "flat", "<relu>", "fc", "<fc>",
    ]  # fmt: skip


def test_weights_of_4_bits_are_for_what_is_neither_first_nor_last_nor_depthwise():
    folded = passes.apply(fold(nets.untrained("depth_res")), passes.PASSES, ARGUMENTS)
    bits = weight_bits(insert_quantizers(folded, STATIC_W4A8))
    wide = ["conv1.point", "pool1", "conv2.depth", "pool2", "conv3.depth", "conv4.depth", "fc3"]
    assert sorted(name for name, each in bits.items() if each == 8) == sorted(wide)
    assert sorted(name for name, each in bits.items() if each == 4) == sorted(
        [f"conv{n}.point" for n in (2, 3, 4)] + [f"res{n}.conv{m}" for n in (2, 3, 4) for m in (1, 2)] + ["fc1", "fc2"]
    )
    assert set(weight_bits(quantized(nets.untrained("depth_res"), size=(3, 32, 32))).values()) == {8}


class TwoHeads(nn.Module):
    """Logits that two layers make together, one behind a tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.middle = nn.Conv2d(4, 4, 3)
        self.plain, self.bounded = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.middle(self.first(images) + self.second(images)).flatten(1)
        return self.plain(seen) + self.bounded(seen).tanh()


def test_of_branches_each_has_a_first_and_a_last_layer():
    graph_module = insert_quantizers(fold(TwoHeads().eval(), ModelArguments(10, 3, (8, 8))), STATIC_W4A8)
    assert [name for name, each in weight_bits(graph_module).items() if each == 4] == ["middle"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("before", ["normalization", "batchnorm"])
def test_the_first_layer_keeps_8_bits_whatever_the_image_goes_through_before_it(channels, before):
    net = named(
        bn=nn.BatchNorm2d(channels), conv=nn.Conv2d(channels, 8, 3, padding=1), relu=nn.ReLU(),
        middle=nn.Conv2d(8, 8, 3), mean=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(8, 10),
    )  # fmt: skip
    if before == "normalization":
        attach(net, Normalization((0.5,) * channels, (0.25,) * channels))
        net.bn = nn.Identity()
    graph_module = fold(net.eval(), ModelArguments(10, channels, (8, 8)))
    bits = weight_bits(insert_quantizers(graph_module, STATIC_W4A8))
    assert [name for name, each in bits.items() if each == 4] == ["middle"]


def test_an_average_has_the_grid_of_what_it_averages_and_a_rounding_of_its_own():
    graph_module = quantized(named(conv=nn.Conv2d(3, 4, 3), pool=nn.AvgPool2d(2), two=nn.Conv2d(4, 4, 3)))
    after = graph_module.get_submodule("quantizer_pool")
    assert isinstance(after, AverageQuantizer)
    graph_module(3 * nets.inputs(2, 3, 8, 8))
    assert after.affine() == affine(graph_module, "conv") != affine(graph_module, "two")
    assert not list(after.state_dict())
    copied = copy.deepcopy(graph_module)
    copied.get_submodule("quantizer_conv").high.fill_(100)
    assert copied.get_submodule("quantizer_pool").affine().scale > 0.39
    assert after.affine().scale < 0.39


def test_rewritten_pools_have_a_range_of_their_own_and_moved_pixels_have_not():
    net = named(conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), pool=nn.AvgPool2d(2), flat=nn.Flatten(), fc=nn.Linear(36, 5))
    assert order(quantized(net, passes.defaults(STATIC_W8A8))) == [
        "<input_1>", "conv_pair", "<input_1>", "conv", "relu", "<relu>", "conv_unpair", "<relu>", "pool", "<pool>",
        "flat_channels_last", "<pool>", "fc", "<fc>",
    ]  # fmt: skip


def test_the_image_and_bounded_activations_have_fixed_grids():
    convolution = nn.Conv2d(3, 4, 3)
    net = named(conv=convolution, tanh=nn.Tanh(), two=nn.Conv2d(4, 4, 3), sigmoid=nn.Sigmoid(), pool=nn.MaxPool2d(2))
    graph_module = quantized(net)
    assert affine(graph_module, "input_1") == Affine(1 / 64, 0)
    assert affine(graph_module, "tanh") == Affine(1 / 128, 0)
    assert affine(graph_module, "sigmoid") == Affine(1 / 256, -128)
    assert order(graph_module) == [
        "<input_1>", "conv", "<conv>", "tanh", "<tanh>", "two", "<two>", "sigmoid", "<sigmoid>", "pool", "<sigmoid>",
    ]  # fmt: skip


def test_a_sum_is_quantized_after_its_relu_and_so_is_what_it_adds():
    graph_module = quantized(nets.handwritten(), size=(3, 32, 32))
    names = [node.name for node in graph_module.graph.nodes]
    total = next(node for node in graph_module.graph.nodes if node.target is operator.add)
    assert [str(each.target) for each in total.args] == ["quantizer_conv3", "quantizer_pool_1"]
    relu, after = names[names.index(total.name) + 1 :][:2]
    assert relu == "relu_2"
    assert after.startswith("quantizer_relu")


def test_a_layer_with_another_user_than_its_relu_is_quantized_itself():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

        def forward(self, x):
            y = self.conv(x)
            return self.relu(y) + y

    assert order(quantized(Net()))[:4] == ["<x>", "conv", "<conv>", "relu"]


@pytest.mark.parametrize("model", nets.MODELS)
@pytest.mark.parametrize("names", [(), tuple(passes.PASSES)], ids=["no passes", "all passes"])
def test_every_tensor_of_a_model_is_quantized_once(model, names):
    graph_module = quantized(nets.untrained(model), names, (3, 32, 32))
    for node in graph_module.graph.nodes:
        if node.op == "output":
            continue
        followers = [user for user in node.users if str(user.target).startswith("quantizer_")]
        if str(node.target).startswith("quantizer_"):
            assert not followers
        else:
            assert len(node.users) == 1
            assert followers or "relu" in next(iter(node.users)).name


@pytest.mark.parametrize("kind", own_nets.KINDS)
def test_no_quantizer_follows_another_as_the_converter_would_drop_one(kind):
    graph_module = insert_quantizers(fold(own_nets.build(kind), own_nets.ARGUMENTS))
    for node in graph_module.graph.nodes:
        if str(node.target).startswith("quantizer_"):
            assert not str(node.args[0].target).startswith("quantizer_")


def test_observing_changes_nothing():
    module = nets.untrained("depth_res")
    x = nets.inputs(2, 3, 32, 32)
    nets.assert_close(quantized(module, (), (3, 32, 32))(x), module(x))


FOUR = {
    "one": nn.Conv2d(3, 4, 3), "relu": nn.ReLU(), "top": nn.MaxPool2d(2), "two": nn.Conv2d(4, 4, 1),
    "three": nn.Conv2d(4, 4, 1), "flat": nn.Flatten(), "fc": nn.Linear(36, 5),
}  # fmt: skip


@pytest.mark.parametrize(
    ("floats", "expected"),
    [
        # A float layer takes its pool along, and what is quantized after that has the range of the layer's own output.
        (
            ["one"],
            "<input_1> border_input_1 one relu top border_top <relu> two <two> three <three> flat <three> fc <fc>",
        ),
        (
            ["two", "three"],
            "<input_1> one relu <relu> top <relu> border_top two three flat border_flat <three> fc <fc>",
        ),
        (["fc"], "<input_1> one relu <relu> top <relu> two <two> three <three> flat <three> border_flat fc"),
        (["one", "two", "three", "fc"], "<input_1> border_input_1 one relu top two three flat fc"),
    ],
    ids=str,
)
def test_layers_that_stay_float_have_borders_around_them_and_no_quantizers_between(floats, expected):
    graph_module = quantized(named(**copy.deepcopy(FOUR)), floats=floats)
    assert " ".join(order(graph_module)) == expected
    assert float_layers_of(graph_module) == tuple(floats)
    assert borders_of(graph_module).floats == set(floats)
    crossings = [name for name in expected.split() if name.startswith("border_")]
    outwards = sum(name in ("border_input_1",) or floats == ["fc"] for name in crossings) or 1
    assert (borders_of(graph_module).quantized, borders_of(graph_module).dequantized) == (
        len(crossings) - outwards, outwards,
    )  # fmt: skip


def test_a_sum_of_float_and_integers_is_one_of_integers():
    graph_module = quantized(nets.handwritten(), size=(3, 32, 32), floats=["conv3"])
    total = next(node for node in graph_module.graph.nodes if node.target is operator.add)
    assert [str(each.target) for each in total.args] == ["quantizer_conv3", "quantizer_pool_1"]
    both = quantized(nets.handwritten(), size=(3, 32, 32), floats=["conv2", "conv3"])
    total = next(node for node in both.graph.nodes if node.target is operator.add)
    assert [str(each.target) for each in total.args] == ["conv3", "pool_1_again"]


def test_what_has_no_int8_form_may_follow_a_float_layer():
    net = named(conv=nn.Conv2d(3, 4, 3), odd=nn.Softmax(1), two=nn.Conv2d(4, 4, 1))
    graph_module = quantized(net, floats=["conv"])
    assert order(graph_module)[-4:] == ["border_odd", "<odd>", "two", "<two>"]
    assert float_operations(graph_module) == []


@pytest.mark.parametrize(
    ("layer", "kind"), [(nn.Softmax(1), "Softmax"), (nn.BatchNorm2d(4), "BatchNorm2d"), (nn.Flatten(2), "Flatten")]
)
def test_a_layer_without_an_int8_kernel_stays_float_between_quantizers_and_is_named(layer, kind):
    net = named(conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), odd=layer, even=nn.ReLU())
    graph_module = quantized(net)
    assert order(graph_module) == ["<input_1>", "conv", "relu", "<relu>", "odd", "<odd>", "even", "<even>"]
    assert float_operations(graph_module) == [f"odd ({kind})"]
    assert boundaries_of(graph_module) == 1


def test_a_pool_has_an_int8_kernel_however_it_says_that_nothing_is_left_out():
    class Net(nn.Module):
        def forward(self, x):
            return F.max_pool2d(x, 3, 2, 1, dilation=[1, 1])

    graph_module = insert_quantizers(fold(Net(), ModelArguments(10, 3, (8, 8))))
    assert order(graph_module) == ["<x>", "max_pool2d", "<x>"]
    assert float_operations(graph_module) == []


def test_float_operations_in_a_row_are_not_quantized_in_between():
    net = named(conv=nn.Conv2d(3, 4, 3), one=nn.Softmax(1), two=nn.Softmax(1), last=nn.Conv2d(4, 4, 1))
    graph_module = quantized(net)
    assert order(graph_module) == ["<input_1>", "conv", "<conv>", "one", "two", "<two>", "last", "<last>"]
    assert float_operations(graph_module) == ["one (Softmax)", "two (Softmax)"]


def test_a_float_operation_takes_what_a_float_layer_gives_as_it_is():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.last(torch.maximum(self.one(x), self.two(x)))

    assert order(quantized(Net(), floats=["two"])) == [
        "<x>", "border_x", "one", "<one>", "two", "<maximum>", "last", "<last>",
    ]  # fmt: skip


def test_logits_of_a_float_operation_stay_float():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return torch.softmax(self.conv(x), 1)

    graph_module = quantized(Net())
    assert order(graph_module) == ["<x>", "conv", "<conv>"]
    assert float_operations(graph_module) == ["softmax (softmax)"]


class Joined(nn.Module):
    """Two branches of very different range that are joined; one of them is used elsewhere as well."""

    def __init__(self, act):
        super().__init__()
        self.one, self.two, self.act = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), act

    def forward(self, x):
        one, two = self.one(x), self.act(self.two(x))
        return torch.cat([one, two], 1)


def test_what_is_joined_has_one_quantizer():
    graph_module = quantized(Joined(nn.ReLU()))
    joint = "<cat>"
    assert order(graph_module) == ["<x>", "one", joint, "two", "act", joint, joint]
    assert boundaries_of(graph_module) == 0


def test_a_fixed_grid_is_left_by_a_layer_to_be_joined():
    graph_module = insert_quantizers(fold(Joined(nn.Sigmoid()).eval(), ModelArguments(10, 3, (8, 8))))
    assert order(graph_module) == [
        "<x>", "one", "<cat>", "two", "<two>", "act", "<act>", "act_moved", "<cat>", "<cat>",
    ]  # fmt: skip
    assert boundaries_of(graph_module) == 0


def test_so_is_one_that_a_float_layer_gave():
    graph_module = quantized(Joined(nn.Sigmoid()), floats=["two"])
    assert order(graph_module) == [
        "<x>", "border_x", "one", "<cat>", "two", "act", "border_act", "<act>", "act_moved", "<cat>", "<cat>",
    ]  # fmt: skip
    assert boundaries_of(graph_module) == 1


def test_so_is_one_that_was_averaged():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 4, 2, stride=2), nn.AvgPool2d(2)

        def forward(self, x):
            return torch.cat([self.pool(x), self.conv(x)], 1)

    graph_module = insert_quantizers(fold(Net().eval(), ModelArguments(10, 3, (8, 8))))
    assert order(graph_module) == ["<x>", "pool", "<pool>", "pool_moved", "<cat>", "conv", "<cat>", "<cat>"]
    assert boundaries_of(graph_module) == 0


class JoinedFeatures(nn.Module):
    """What is no image, of a fixed grid, joined with what has another."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        x = x.mean((2, 3))
        x = x.view(-1, *self.shape) if self.shape else x
        return torch.cat([x, torch.tanh(x)], 1)


def test_features_with_a_fixed_grid_are_joined_too():
    graph_module = insert_quantizers(fold(JoinedFeatures().eval(), ModelArguments(10, 3, (8, 8))))
    moved = graph_module.get_submodule("tanh_1_moved")
    assert isinstance(moved, nn.Linear)
    assert torch.equal(moved.weight, torch.eye(3)) and not moved.weight.requires_grad
    assert boundaries_of(graph_module) == 0


def test_a_fixed_grid_of_other_dimensions_cannot_be_joined():
    with pytest.raises(CheckFailedError, match="what 'tanh.*' gives has an int8 grid of its own and 3 dimensions"):
        insert_quantizers(fold(JoinedFeatures(3, 1).eval(), ModelArguments(10, 3, (8, 8))))


def test_a_fixed_grid_that_a_pass_gave_is_left_as_any_other():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(1, 6, 1)

        def forward(self, x):
            return torch.cat([torch.tanh(self.one(x)), torch.relu(self.two(x))], 1)

    arguments = ModelArguments(10, 1, (8, 8))
    graph_module = passes.apply(fold(Net().eval(), arguments), ["pair_columns"], arguments)
    names = order(insert_quantizers(graph_module))
    assert [name for name in names if name.endswith(("unpair", "moved"))] == ["one_unpair", "tanh_1_moved"]


def test_the_product_of_two_tensors_has_a_range_of_its_own():
    class Net(nn.Module):
        def forward(self, x):
            return x * torch.relu(x)

    graph_module = quantized(Net())
    assert order(graph_module) == ["<x>", "<relu>", "<mul>"]
    assert float_operations(graph_module) == []
