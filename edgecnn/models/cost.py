"""What a model costs: values to store, and multiplications for one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgecnn.models.arguments import ModelArguments


def parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class LayerCost:
    """A 2-d convolution or linear layer, and how many ``values`` it gives for one image."""

    module: nn.Conv2d | nn.Linear
    values: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.values * self.module.weight[0].numel()  # each value takes one filter


def weighted(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """All 2-d convolutions and linear layers by name, as they are declared: the last is mostly the classifier."""
    return {name: each for name, each in model.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)}


def is_depthwise(layer: nn.Module | None) -> bool:
    """Whether each channel is convolved by itself, into one or more."""
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1


def layer_costs(model: nn.Module, arguments: ModelArguments) -> list[LayerCost]:
    """All 2-d convolutions and linear layers in the order they are used, one that is used twice twice.

    The model is run once, on zeros of the size that ``arguments`` tell.
    """
    found: list[LayerCost] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        found.append(LayerCost(module, output[0].numel()))

    hooks = [each.register_forward_hook(look) for each in weighted(model).values()]
    was_training = model.training
    image = torch.zeros(1, arguments.in_channels, *arguments.image_size)
    try:
        with torch.no_grad():
            model.eval()(image.to(next(model.parameters()).device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return found


def macs(model: nn.Module, arguments: ModelArguments) -> int:
    """Multiply-accumulates of all 2-d convolutions and linear layers for one image; all else is not counted.

    The model is run once, on zeros of the size that ``arguments`` tell.
    """
    return sum(layer.macs for layer in layer_costs(model, arguments))
