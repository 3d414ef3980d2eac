"""Schedule, average, weight decay and Muon's steps, against what they are said to be."""

from __future__ import annotations

import math

import pytest
import torch

from edgecnn import models
from edgecnn.train import TrainRecipe
from edgecnn.train.muon import orthogonal
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


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
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


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (32, 32), (1, 27)])
def test_singular_values_are_moved_to_about_one_and_directions_are_kept(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    rows, columns = shape
    left, _ = torch.linalg.qr(torch.randn(rows, min(shape), generator=generator))
    right, _ = torch.linalg.qr(torch.randn(columns, min(shape), generator=generator))
    values = torch.logspace(0, -1, min(shape))
    found = left.T @ orthogonal(left * values @ right.T * 1e-3) @ right
    diagonal = found.diag()
    assert (diagonal > 0.6).all()
    assert (diagonal < 1.3).all()
    assert (found - torch.diag(diagonal)).abs().max() < 1e-4


def stepped(name: str, scale: float) -> dict[str, torch.Tensor]:
    """How far depth_res's parameters move in two steps, whose gradients are the same random ones times ``scale``."""
    torch.manual_seed(0)
    model = models.create("depth_res")
    optimizer = make_optimizer(model, TrainRecipe(optimizer=name, learning_rate=0.5, weight_decay=0.0))
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return {key: value.detach() - before[key] for key, value in model.named_parameters()}


def test_muon_moves_layers_that_mix_channels_by_its_own_measure_and_all_others_as_sgd_does() -> None:
    muon, larger, sgd = stepped("muon", 1.0), stepped("muon", 8.0), stepped("sgd", 1.0)
    own = {key for key in muon if not torch.allclose(muon[key], sgd[key], atol=1e-5)}
    layers = dict(models.create("depth_res").named_modules())
    mixing = {key for key, value in layers.items() if getattr(value, "groups", 1) == 1 and hasattr(value, "weight")}
    mixing = {key for key in mixing if layers[key].weight.ndim > 1}
    last = [key for key, value in layers.items() if isinstance(value, torch.nn.Linear)][-1]
    assert own == {f"{key}.weight" for key in mixing - {last}}
    for key in own:
        torch.testing.assert_close(larger[key], muon[key], rtol=1e-3, atol=1e-5)
