"""Muon: momentum that is made orthogonal before it moves a layer's weights.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon), with
weight decay as in Liu et al. 2025, "Muon is Scalable for LLM Training" (arXiv:2502.16982). torch has one for linear
layers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Of the quintic that drives singular values towards 1 (Jordan et al.), and how often it is applied.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 4


def orthogonal(matrix: Tensor) -> Tensor:
    """``matrix`` [rows, columns] with its singular values moved to about 1 (0.5 to 1.2), by Newton-Schulz rounds.

    Those below a hundredth of the largest come nearer and stay smaller; a matrix of zeros stays one.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if tall else matrix
    found = found / (found.norm() + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = found @ found.T
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found.T if tall else found


class Muon(Optimizer):
    """SGD with Nesterov momentum, whose steps are made orthogonal in ``orthogonal`` groups; decay is decoupled.

    Weights [out, ...] of such a group are taken as matrices [out, rest]; each step of theirs has about the same size
    whatever the gradient's, the learning rate alone says which.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient. ``closure`` is not called."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffer = state["momentum_buffer"].mul_(momentum).add_(gradient)
                step = gradient.add(buffer, alpha=momentum)
                if group["orthogonal"]:
                    step = _orthogonal_step(step)
                parameter.mul_(1 - rate * group["weight_decay"]).sub_(step, alpha=rate)


def _orthogonal_step(step: Tensor) -> Tensor:
    """The step made orthogonal; where there are more outputs than inputs, so much longer that each still moves."""
    matrix = step.flatten(1)
    rows, columns = matrix.shape
    return (orthogonal(matrix) * max(1.0, rows / columns) ** 0.5).view_as(step)
