"""Folding: the plain graph computes what the model computes in evaluation mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes
from edgecnn.quantize.fold import fold
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
