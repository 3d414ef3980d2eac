"""The model registry: a dict of factories that other packages can add to."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

import torch
from torch import Tensor, nn

from edgecnn.errors import EdgeCNNError, UnknownNameError, UsageError
from edgecnn.models import own
from edgecnn.models.arguments import ModelArguments
from edgecnn.models.design import FORM, PREFIX, Design
from edgecnn.models.normalization import Normalization, attach

Factory = Callable[..., nn.Module]

_FACTORIES: dict[str, Factory] = {}
_MODULES = ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8", "edge", "teacher")
_LISTED = ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8", "edge_s", "edge_m", "edge_l")
_UNLISTED = ("teacher",)  # not for devices
_ENTRY_POINTS = "edgecnn.models"


def register(name: str) -> Callable[[Factory], Factory]:
    """Add an architecture under ``name``.

        from edgecnn.models import register

        @register("my_net")
        def my_net(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module: ...

    A package makes its models known to the command line by naming the module that registers them as an
    entry point in the group ``edgecnn.models``:

        [project.entry-points."edgecnn.models"]
        my_net = "my_package.my_models"
    """

    def add(factory: Factory) -> Factory:
        if name in _FACTORIES and _FACTORIES[name] is not factory:
            raise UsageError(f"a model named '{name}' is registered already; choose another name")
        _FACTORIES[name] = factory
        return factory

    return add


def names() -> list[str]:
    """Names of all models for devices: our own in the order of the README, then those of other packages.

    Raises UsageError for a package whose models cannot be loaded.
    """
    for module in _MODULES:
        import_module(f"edgecnn.models.{module}")
    for entry in entry_points(group=_ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # another's code: it may raise anything
            package = entry.dist.name if entry.dist else entry.value
            raise UsageError(
                f"the models of package '{package}' cannot be loaded ({error}); mend or uninstall it"
            ) from error
    listed = [name for name in _FACTORIES if name not in _UNLISTED]  # in the order in which modules were imported
    return sorted(listed, key=lambda name: _LISTED.index(name) if name in _LISTED else len(_LISTED))


def known() -> list[str]:
    """``names``, and those of models that are for no device. Raises UsageError as that does."""
    return [*names(), *_UNLISTED]


def check(name: str) -> None:
    """Raise UnknownNameError for a model that is neither registered, nor a design, nor to be had from outside."""
    spec = _outside(name)
    if spec is not None:
        own.check(spec)
    elif is_design(name):
        Design.parse(name)
    elif name.endswith(".py"):
        raise UsageError(f"model '{name}' is a file; name the function in it that makes the model: {name}:FUNCTION")
    elif name not in known():
        raise UnknownNameError("model", name, [*_FACTORIES, FORM, *own.FORMS])


def _outside(name: str) -> own.Spec | None:
    """The model from outside that ``name`` is, if it is one."""
    return None if is_design(name) else own.parse(name)


def _factory(name: str) -> Factory:
    """What builds one of our own models."""
    return Design.parse(name).build if is_design(name) else _FACTORIES[name]


def is_own(name: str) -> bool:
    """True for a model from outside, of which edgecnn knows nothing but the name."""
    return _outside(name) is not None


def is_design(name: str) -> bool:
    """True for an architecture that is written out in its name, and may be of any size."""
    return name.startswith(PREFIX)


def is_built_in(name: str) -> bool:
    """True for edgecnn's own architectures and for designs: they can be built without memory, on device "meta"."""
    return is_design(name) or name in _LISTED + _UNLISTED


def runs_code(name: str) -> bool:
    """True where building the model runs a file or module of the user's."""
    spec = _outside(name)
    return spec is not None and not spec.in_library


def short_name(name: str) -> str:
    """The model's name as a part of file names."""
    spec = _outside(name)
    if is_design(name):
        return Design.parse(name).short
    return name if spec is None else spec.short


def default_normalization(name: str, channels: int) -> Normalization | None:
    """The input normalization that a model from torchvision or timm comes with; None for all others."""
    spec = _outside(name)
    return None if spec is None else own.normalization(spec, channels)


def create(name: str, arguments: ModelArguments | None = None, normalization: Normalization | None = None) -> nn.Module:
    """Build the architecture ``name`` with fresh weights; ``design`` and ``own`` say which names reach beyond
    the registry.

    The module maps float32 images [n, channels, height, width], (u8 - 128) / 64, to logits [n, num_classes]; with
    ``normalization`` the architecture itself sees its own. Raises UnknownNameError for a name that is not registered,
    UsageError for an image that is too small and for a model that is no such map.
    """
    check(name)
    chosen = arguments or ModelArguments()
    spec = _outside(name)
    height, width = chosen.image_size
    if spec is None:
        factory = _factory(name)
        try:
            model = factory(chosen.num_classes, chosen.in_channels, chosen.image_size)
        except RuntimeError as error:
            raise UsageError(f"model '{name}' cannot take images of {height}x{width}: {error}") from error
        except Exception as error:  # another's code: it may raise anything
            if isinstance(error, EdgeCNNError):
                raise
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"the code of model '{name}' failed: {' '.join(reason.split())[:300]}") from error
        if not factory.__module__.startswith("edgecnn."):
            _prove(name, model, chosen)
    else:
        model = own.create(spec, chosen)
        _prove(name, model, chosen)
        model.register_forward_pre_hook(_in_order)
    return model if normalization is None else attach(model, normalization.for_channels(chosen.in_channels))


def _in_order(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hand a model from outside its images channel by channel in memory: many flatten with view(), which needs that."""
    return tuple(each.contiguous() for each in inputs)


def _prove(name: str, model: nn.Module, arguments: ModelArguments) -> None:
    """Raise UsageError unless two images give two rows of one logit for each class."""
    height, width = arguments.image_size
    was_training = model.training
    try:
        with torch.no_grad():
            result = model.eval()(torch.zeros(2, arguments.in_channels, height, width))
    except Exception as error:  # another's code: it may raise anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UsageError(
            f"model '{name}' cannot take images of {height}x{width}x{arguments.in_channels}: {reason}"
        ) from error
    model.train(was_training)
    if not isinstance(result, Tensor):
        raise UsageError(f"model '{name}' gives a {type(result).__name__} for images, not one tensor of logits")
    if result.shape != (2, arguments.num_classes):
        raise UsageError(
            f"model '{name}' gives {list(result.shape)} for 2 images, but the data set has {arguments.num_classes} "
            f"classes: [2, {arguments.num_classes}] is needed; let the factory take num_classes"
        )
