"""How weights move: the optimizer, its learning rate, and the moving average that is kept in the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from edgecnn.models.cost import is_depthwise, weighted
from edgecnn.train.muon import Muon
from edgecnn.train.recipe import TrainRecipe


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear warm-up to ``peak`` over ``warmup`` steps, then half a cosine down to zero at ``steps``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def make_optimizer(model: nn.Module, recipe: TrainRecipe) -> Optimizer:
    """SGD with Nesterov momentum, AdamW or Muon; biases and BatchNorm are not decayed."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if recipe.optimizer == "muon":
        mixing = {id(each) for each in _mixing(model)}
        hidden = groups[0] | {"params": [p for p in matrices if id(p) in mixing], "orthogonal": True}
        groups[0]["params"] = [p for p in matrices if id(p) not in mixing]
        return Muon([hidden, *groups], lr=recipe.learning_rate, momentum=recipe.momentum)
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.learning_rate)
    return SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _mixing(model: nn.Module) -> list[Tensor]:
    """Weights of the layers that mix channels, but for the last, whose outputs are the classes."""
    hidden = list(weighted(model).values())[:-1]
    return [each.weight for each in hidden if not is_depthwise(each)]


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Exponential moving average whose decay grows from 0.1 to ``decay``, so that short runs average too.

    The result updates (averaged, current, number of updates so far) in place; it is AveragedModel's ``multi_avg_fn``.
    """

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for kept, new in zip(averaged, current, strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, weight)
            else:
                kept.copy_(new)

    return update
