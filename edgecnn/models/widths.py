"""The width of a model's layers as data: channels in and out, by the name of the module.

A pruned network is the architecture with narrower layers. ``resize`` makes it again from the architecture and what
``narrowed`` tells, so that weights can be loaded into it and nothing has to be pickled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.models.arguments import ModelArguments

Widths = dict[str, tuple[int, int]]  # channels in and out of a module


def widths_of(model: nn.Module) -> Widths:
    """Channels in and out of every module that ``resize`` can make narrower."""
    found = {name: _widths(module) for name, module in model.named_modules()}
    return {name: pair for name, pair in found.items() if pair is not None}


def narrowed(model: nn.Module, before: Widths) -> Widths:
    """The widths of ``model`` that are no longer what they were ``before``."""
    return {name: pair for name, pair in widths_of(model).items() if pair != before[name]}


def widths_from_json(value: Any) -> Widths:
    """Widths as ``json`` reads them: an object of pairs. Raises ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"widths are {type(value).__name__}, not an object of names and pairs of channels")
    for name, pair in value.items():
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(each) is int and each > 0 for each in pair)):
            raise ValueError(f"widths of '{name}' are {str(pair)[:40]}, not channels in and out")
    return {name: (pair[0], pair[1]) for name, pair in value.items()}


def resize(model: nn.Module, widths: Widths, arguments: ModelArguments) -> nn.Module:
    """Make modules of ``model`` as narrow as ``widths`` says, in place; of its weights the first channels are kept.

    Raises UsageError for widths of a module that is not there or cannot be resized, for any that are more than it has,
    and for those that do not fit each other, which weights on the meta device cannot tell.
    """
    modules = dict(model.named_modules())
    for name, (channels_in, channels_out) in widths.items():
        there = _widths(modules[name]) if name in modules else None
        if there is None:
            raise UsageError(f"the model has no layer '{name[:80]}' whose channels could be changed")
        if not (1 <= channels_in <= there[0] and 1 <= channels_out <= there[1]):
            raise UsageError(
                f"layer '{name}' cannot have {channels_in} channels in and {channels_out} out: "
                f"the architecture has {there[0]} and {there[1]}"
            )
        if channels_in != channels_out and _one_width(modules[name]):
            raise UsageError(f"layer '{name}' has as many channels in as out, not {channels_in} and {channels_out}")
    for name, pair in widths.items():
        _resize(modules[name], *pair)
    if widths and not any(each.is_meta for each in model.parameters()):
        _prove(model, arguments)
    return model


def _widths(module: nn.Module) -> tuple[int, int] | None:
    if not isinstance(getattr(module, "weight", None), nn.Parameter | None):
        return None  # made anew for each image, as by weight_norm: there is no weight to take channels from
    if isinstance(module, nn.Conv2d):
        return (module.in_channels, module.out_channels) if module.groups == 1 or _one_width(module) else None
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, nn.BatchNorm2d):
        return module.num_features, module.num_features
    return None


def _one_width(module: nn.Module) -> bool:
    """True for a module whose channels in are its channels out."""
    if isinstance(module, nn.Conv2d):
        return module.groups > 1 and module.groups == module.in_channels == module.out_channels
    return isinstance(module, nn.BatchNorm2d)


def _resize(module: nn.Module, channels_in: int, channels_out: int) -> None:
    if isinstance(module, nn.Conv2d):
        if module.groups > 1:
            module.groups, filters = channels_in, 1
        else:
            filters = channels_in
        module.in_channels, module.out_channels = channels_in, channels_out
        _cut(module, "weight", channels_out, filters)
        _cut(module, "bias", channels_out)
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = channels_in, channels_out
        _cut(module, "weight", channels_out, channels_in)
        _cut(module, "bias", channels_out)
    else:
        assert isinstance(module, nn.BatchNorm2d)
        module.num_features = channels_out
        for name in ("weight", "bias", "running_mean", "running_var"):
            _cut(module, name, channels_out)


def _cut(module: nn.Module, name: str, *lengths: int) -> None:
    """Keep the beginning of each of the first dimensions of a parameter or buffer, if the module has it."""
    value = getattr(module, name)
    if value is None:
        return
    first = value.detach()[tuple(slice(length) for length in lengths)]
    kept = first.new_empty(first.shape).copy_(first)  # clone() on the meta device would import PyTorch's compiler
    setattr(module, name, nn.Parameter(kept) if isinstance(value, nn.Parameter) else kept)


def _prove(model: nn.Module, arguments: ModelArguments) -> None:
    """Raise UsageError unless an image goes through to one logit for each class."""
    was_training = model.training
    try:
        with torch.no_grad():
            result = model.eval()(torch.zeros(1, arguments.in_channels, *arguments.image_size))
    except RuntimeError as error:
        raise UsageError(f"the widths of its layers do not fit each other ({' '.join(str(error).split())})") from error
    model.train(was_training)
    if not isinstance(result, Tensor) or result.shape != (1, arguments.num_classes):
        raise UsageError("the widths of its layers leave other than one logit for each class")
