"""Folding: the plain graph computes what the model computes in evaluation mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.trace import lost
from tests import nets

ARGUMENTS = ModelArguments()


def kinds(graph_module):
    calls = [node.target for node in graph_module.graph.nodes if node.op == "call_module"]
    return [type(graph_module.get_submodule(target)) for target in calls]


@pytest.mark.parametrize("model", nets.MODELS)
def test_models_keep_their_function_and_lose_what_inference_does_not_need(model):
    original = nets.untrained(model)
    folded = fold(original)
    x = nets.inputs(4, 3, 32, 32)
    nets.assert_close(folded(x), original(x))
    assert not {nn.BatchNorm2d, nn.Dropout, nn.Identity} & set(kinds(folded))
    assert not [name for name, _ in folded.named_modules() if "bn" in name or "drop" in name]


def test_the_model_itself_is_left_as_it_was():
    original = nets.untrained("mod_cnn").train()
    before = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    fold(original)
    assert original.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in original.state_dict().items())


def test_a_batchnorm_that_cannot_be_folded_stays_and_is_exact():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.conv, self.bn = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.conv(self.first(x))
            return self.bn(y) + y

    original = nets.with_statistics(Net())
    folded = fold(original)
    x = nets.inputs(2, 3, 8, 8)
    nets.assert_close(folded(x), original(x))
    assert kinds(folded).count(nn.BatchNorm2d) == 2


@pytest.mark.parametrize(
    "norm",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
    ],
    ids=["weight_norm", "spectral_norm", "old weight_norm", "old spectral_norm"],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weights_that_are_computed_for_each_image_become_plain_ones(norm):
    torch.manual_seed(1)
    layers = norm(nn.Conv2d(3, 6, 3, padding=1)), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), norm(nn.Linear(384, 4))
    original = nets.with_statistics(nn.Sequential(*layers))
    x = nets.inputs(4, 3, 8, 8)
    with torch.no_grad():
        expected = original(x)
    folded = fold(original, ModelArguments(4, 3, (8, 8)))
    nets.assert_close(folded(x), expected)
    assert kinds(folded) == [nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear]
    images = nets.images(8, (8, 8, 3))
    simulated = ptq.calibrate(original, ModelArguments(4, 3, (8, 8)), [images], ())
    assert simulated(x).shape == (4, 4)
    nets.assert_close(original(x), expected)


def test_a_batchnorm_without_factors_is_exact_wherever_it_stands():
    original = nn.Sequential(
        nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, affine=False), nn.ReLU(),
        nn.BatchNorm2d(6, affine=False), nn.Flatten(), nn.Linear(216, 4)
    ).eval()  # fmt: skip
    for each in original:
        if isinstance(each, nn.BatchNorm2d):
            assert each.running_mean is not None and each.running_var is not None
            each.running_mean.uniform_(-1, 1)
            each.running_var.uniform_(0.5, 2)
    x = nets.inputs(4, 3, 8, 8)
    nets.assert_close(fold(original, ModelArguments(4, 3, (8, 8)))(x), original(x))


@pytest.mark.parametrize("place", [0, 1])
def test_a_batchnorm_that_remembers_nothing_is_a_usage_error(place):
    layers = [nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(108, 4)]
    layers.insert(place, nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(UsageError, match=f"layer '{place}' is a BatchNorm without running statistics"):
        fold(nn.Sequential(*layers).eval(), ModelArguments(4, 3, (8, 8)))


@pytest.mark.parametrize(("crop", "padding"), [(-1, 0), (-1, 1), (-2, 1), (1, 1)])
def test_a_crop_before_a_convolution_is_no_padding(crop, padding):
    original = nn.Sequential(
        nn.ZeroPad2d(crop), nn.Conv2d(3, 4, 3, padding=padding), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    x = nets.inputs(4, 3, 12, 12)
    nets.assert_close(fold(original.eval(), ModelArguments(4, 3, (12, 12)))(x), original(x))


def test_one_module_called_twice_is_folded_and_rewritten_for_each_call():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn1, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.bn2(self.conv(self.bn1(self.conv(x))))

    original = nets.with_statistics(Twice())
    folded = fold(original)
    x = nets.inputs(2, 4, 8, 8)
    nets.assert_close(folded(x), original(x))
    assert kinds(folded) == [nn.Conv2d, nn.Conv2d]

    written = nets.handwritten()  # its one pool sees 6, 12 and 12 channels
    x = nets.inputs(2, 3, 32, 32)
    nets.assert_close(passes.apply(fold(written), passes.PASSES, ARGUMENTS)(x), written(x))


class Optional(nn.Module):
    """As many models take labels or a mask that training hands them, and inference does not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x, mask=None, sides=(1, 1), *rest, scale=2, **more):
        if mask is not None or rest or more:
            x = x * mask
        return F.avg_pool2d(self.conv(x), 6, sides).flatten(1) * scale


@pytest.mark.parametrize("arguments", [None, ModelArguments(4, 3, (8, 8))])
def test_arguments_that_have_a_default_have_it_in_the_graph(arguments):
    original = Optional().eval()
    folded = fold(original, arguments)
    assert [node.op for node in folded.graph.nodes].count("placeholder") == 1
    assert lost(folded) == ""
    x = nets.inputs(3, 3, 8, 8)
    nets.assert_close(folded(x), original(x))


def test_a_graph_that_some_rewrite_cannot_take_is_a_usage_error_of_one_line(capsys):
    class Neighbours(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) + x.unfold(0, 2, 1).mean()  # there are none of a single image

    with pytest.raises(
        UsageError, match="'Neighbours' gives no graph that edgecnn understands: .*dimension 0"
    ) as found:
        fold(Neighbours(), ModelArguments(3, 3, (8, 8)))
    assert isinstance(found.value.__cause__, RuntimeError)
    assert "\n" not in str(found.value)
    assert capsys.readouterr().err == ""


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Counting(nn.Module):
    def forward(self, x):
        return sum(x[index] for index in range(len(x)))


class Ranging(nn.Module):
    def forward(self, x):
        return [x for _ in range(x.shape[0])]


@pytest.mark.parametrize("module", [Branching(), Counting(), Ranging()], ids=lambda module: type(module).__name__)
def test_a_model_that_cannot_be_traced_is_a_usage_error(module):
    with pytest.raises(UsageError, match="this model cannot be traced by torch.fx: "):
        fold(module)
