"""Criteria: each puts last what its definition says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn import models
from edgecnn.errors import UnknownNameError
from edgecnn.models import ModelArguments
from edgecnn.prune import importance
from edgecnn.prune.groups import Channels
from tests.train import small

ARGUMENTS = ModelArguments(3, 1, (16, 16))


def least(model: nn.Module, criterion: str) -> int:
    """The channel of conv1 that matters least."""
    return int(importance.scores(Channels(model, ARGUMENTS), criterion, small.dataset().train)["conv1"].argmin())


def weights(model: nn.Module, name: str) -> torch.Tensor:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, torch.Tensor)
    return weight.data


def test_absolute_values_and_squares_rank_differently() -> None:
    model = models.create("lenet", ARGUMENTS)
    weights(model, "conv1").fill_(0.5)
    weights(model, "conv2").fill_(0.0)
    weights(model, "conv1")[2] = 0.4  # ten in all, evenly
    weights(model, "conv1")[4] = 0.0
    weights(model, "conv1")[4, 0, 0, :2] = 2.4  # less than half in all, in two places
    assert least(model, importance.L1) == 4
    assert least(model, importance.L2) == 2


def test_taylor_ranks_by_what_the_loss_feels() -> None:
    torch.manual_seed(0)
    model = models.create("lenet", ARGUMENTS)
    weights(model, "conv1")[3] *= 10  # by magnitude the first
    weights(model, "conv2")[:, 3] = 0  # but nobody listens
    assert least(model, importance.TAYLOR) == 3
    assert least(model, importance.L1) != 3


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown importance 'l3'"):
        importance.check("l3")
