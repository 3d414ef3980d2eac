"""What a model costs: parameters and multiply-accumulates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.models.registry import ModelArguments


def parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, arguments: ModelArguments) -> int:
    """Multiply-accumulates of all convolutions and linear layers for one image."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        total += weight.numel() * positions

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    was_training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, arguments.in_channels, *arguments.image_size))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return total
