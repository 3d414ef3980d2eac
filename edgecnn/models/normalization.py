"""A model's own input normalization, as a hook that turns edgecnn's input into the model's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET


@dataclass(frozen=True)
class Normalization:
    """The model wants (u8 / 255 - mean) / std, channel by channel; both are shares of white, as everywhere.

    Raises UsageError for lengths that differ, and values that are not finite or, for std, not above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise UsageError(f"mean has {len(self.mean)} values and std {len(self.std)}; give one for each channel")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise UsageError(f"mean {self.mean} and std {self.std} are no normalization; finite, std above 0")

    def for_channels(self, channels: int) -> Normalization:
        """This for images of ``channels``; one value serves all channels. Raises UsageError where it does not fit."""
        if len(self.mean) == 1:
            return Normalization(self.mean * channels, self.std * channels)
        if len(self.mean) != channels:
            raise UsageError(f"mean and std have {len(self.mean)} values, but the images have {channels} channels")
        return self

    @property
    def factor(self) -> list[float]:
        """What edgecnn's input (u8 - 128) / 64 is multiplied by, for each channel."""
        return [INPUT_DIVISOR / (255 * std) for std in self.std]

    @property
    def shift(self) -> list[float]:
        """What is added then."""
        return [(INPUT_OFFSET / 255 - mean) / std for mean, std in zip(self.mean, self.std, strict=True)]

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Called before the model with its inputs, of which the first is float32 [n, channels, height, width]."""
        x, *others = inputs
        return x * x.new_tensor(self.factor).view(-1, 1, 1) + x.new_tensor(self.shift).view(-1, 1, 1), *others

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, value: dict[str, Sequence[float]]) -> Normalization:
        """The inverse of ``to_json``."""
        return cls(tuple(map(float, value["mean"])), tuple(map(float, value["std"])))


def attach(model: nn.Module, normalization: Normalization) -> nn.Module:
    """Let ``model`` take edgecnn's input and see its own; its modules and weights keep their names."""
    model.register_forward_pre_hook(normalization)
    return model


def normalization_of(model: nn.Module) -> Normalization | None:
    """What was attached to ``model``, if anything was."""
    return next((hook for hook in model._forward_pre_hooks.values() if isinstance(hook, Normalization)), None)


def detach(model: nn.Module) -> None:
    """Take what was attached off ``model`` again."""
    for key, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, Normalization):
            del model._forward_pre_hooks[key]
