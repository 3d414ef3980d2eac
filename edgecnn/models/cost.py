"""What a model costs: values to store, and multiplications for one image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgecnn.models.arguments import ModelArguments


def parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, arguments: ModelArguments) -> int:
    """Multiply-accumulates of all 2-d convolutions and linear layers for one image; all else is not counted.

    The model is run once, on zeros of the size that ``arguments`` tell.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += output[0].numel() * weight[0].numel()  # each output value takes one filter

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    was_training = model.training
    image = torch.zeros(1, arguments.in_channels, *arguments.image_size)
    try:
        with torch.no_grad():
            model.eval()(image.to(next(model.parameters()).device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return total
