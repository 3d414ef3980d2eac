"""Schedule, average and weight decay, against what they are said to be."""

from __future__ import annotations

import math

import pytest
import torch

from edgecnn import models
from edgecnn.train import TrainRecipe
from edgecnn.train.optimize import learning_rate, make_optimizer, moving_average
from edgecnn.train.state import State


def test_the_learning_rate_rises_to_its_peak_and_falls_as_half_a_cosine() -> None:
    rates = [learning_rate(step, 100, 10, 0.4) for step in range(100)]
    assert rates[:10] == pytest.approx([0.04 * step for step in range(1, 11)])
    assert rates[10] == pytest.approx(0.4)
    assert rates[55] == pytest.approx(0.2)
    assert rates[77] == pytest.approx(0.2 * (1 + math.cos(math.pi * 67 / 90)))
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert learning_rate(0, 10, 0, 0.4) == 0.4


def test_the_average_follows_its_decay_and_copies_counters() -> None:
    kept, counter = torch.tensor([1.0]), torch.tensor(3)
    update = moving_average(0.9)
    update([kept, counter], [torch.tensor([2.0]), torch.tensor(7)], 0)
    assert (kept.item(), counter.item()) == (pytest.approx(0.1 * 1 + 0.9 * 2), 7)
    kept.fill_(1.0)
    update([kept], [torch.tensor([2.0])], 10_000)
    assert kept.item() == pytest.approx(0.9 * 1 + 0.1 * 2)


def test_the_first_average_is_the_model_itself_buffers_included() -> None:
    state = State.start(models.create("resnet8"), TrainRecipe())
    state.model(torch.randn(2, 3, 32, 32))
    state.average.update_parameters(state.model)
    mine, its = state.model.state_dict(), state.result.state_dict()
    assert mine["bn0.running_mean"].abs().sum() > 0
    assert all(its[name].equal(mine[name]) for name in mine)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_matrices_decay(name: str) -> None:
    model = models.create("resnet8")
    optimizer = make_optimizer(model, TrainRecipe(optimizer=name, learning_rate=0.5, momentum=0.0, weight_decay=0.1))
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, value in model.named_parameters():
        factor = 0.95 if value.ndim > 1 else 1.0  # 1 - learning rate * decay
        torch.testing.assert_close(value.detach(), before[key] * factor)
