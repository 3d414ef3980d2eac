"""Models from outside: a factory in a user's file or module, torchvision's and timm's models by name.

    path/to/file.py:factory     package.module:factory     torchvision:NAME     timm:NAME

The first two run a user's code, which nothing does unless the user names it: a weights file that names such a model
is opened only by a command line that names it too.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from edgecnn.errors import BadFileError, MissingExtraError, UnknownNameError, UsageError
from edgecnn.models.arguments import ModelArguments
from edgecnn.models.normalization import Normalization

LIBRARIES = ("torchvision", "timm")
FORMS = ("torchvision:NAME", "timm:NAME", "FILE.py:FACTORY", "PACKAGE.MODULE:FACTORY")
_AUXILIARY = ("googlenet", "inception_v3")  # have a second head in training, unless told otherwise


@dataclass(frozen=True)
class Spec:
    """``where`` is a library, a file or a module; ``name`` a model or a factory in it."""

    where: str
    name: str

    @property
    def in_library(self) -> bool:
        """True for torchvision's and timm's models, whose code is installed and not the user's."""
        return self.where in LIBRARIES

    @property
    def is_file(self) -> bool:
        """True for a factory in a Python file."""
        return self.where.endswith(".py") or os.sep in self.where

    @property
    def short(self) -> str:
        """A name that can be part of a file's."""
        module = Path(self.where).stem if self.is_file else self.where.rpartition(".")[2]
        plain = self.name if self.in_library else f"{module.lstrip('.')}_{self.name}"
        return re.sub(r"[^A-Za-z0-9._+-]", "_", plain)


def parse(text: str) -> Spec | None:
    """The model from outside that ``text`` names; None if it is a plain name. Raises UsageError for half a name."""
    where, colon, name = text.rpartition(":")
    if not colon:
        return None
    if not where or not name:
        raise UsageError(f"model '{text}' names only half of what it needs (valid: {', '.join(FORMS)})")
    return Spec(where, name)


def check(spec: Spec) -> None:
    """Raise UnknownNameError for a model that its library has not; MissingExtraError where that is not installed.

    Runs no code of the user's.
    """
    if spec.in_library:
        known = _known(spec.where)
        if spec.name not in known and not (spec.where == "timm" and spec.name.partition(".")[0] in known):
            raise UnknownNameError(f"{spec.where} model", spec.name, known)
    elif spec.is_file and not Path(spec.where).is_file():
        raise BadFileError(f"there is no file {spec.where} to take the model '{spec.name}' from; check the path")


def create(spec: Spec, arguments: ModelArguments) -> nn.Module:
    """The model with the weights its factory gives it, which for a library are fresh ones.

    A factory is called with those of ``num_classes``, ``in_channels`` (or ``in_chans``) and ``image_size`` (or
    ``img_size``) that it takes. Raises UsageError for a factory that cannot be called so, that fails, or that gives
    anything but a module. Whether the model turns such images into one logit for each class is for others to see.
    """
    check(spec)
    if spec.where == "torchvision":
        model = _torchvision(spec.name, arguments)
    elif spec.where == "timm":
        model = _timm(spec.name, arguments)
    else:
        model = _call(spec, _factory(spec), arguments)
    return model


def normalization(spec: Spec, channels: int) -> Normalization | None:
    """What a library's own weights of this model were trained with; None for a user's model, which says it itself.

    For other than 3 channels the means over the channels.
    """
    if not spec.in_library:
        return None
    check(spec)
    if spec.where == "torchvision":
        preset = _library("torchvision").models.get_model_weights(spec.name).DEFAULT.transforms()
        found = Normalization(tuple(preset.mean), tuple(preset.std))
    else:
        settings = _library("timm").get_pretrained_cfg(spec.name)
        if settings is None:
            return None
        found = Normalization(tuple(settings.mean), tuple(settings.std))
    if channels != len(found.mean):
        found = Normalization((sum(found.mean) / len(found.mean),), (sum(found.std) / len(found.std),))
    return found.for_channels(channels)


def _library(name: str) -> Any:
    try:
        module = importlib.import_module(name)
        importlib.import_module(f"{name}.models")
    except ModuleNotFoundError as error:
        extra = "timm" if name == "timm" else "train"
        raise MissingExtraError(f"a model '{name}:...'", str(error.name), extra) from error
    except (ImportError, RuntimeError, AttributeError) as error:
        raise UsageError(
            f"the package '{name}' cannot be imported ({error}); it was built for another torch than this one: install "
            "both from the same index"
        ) from error
    return module


@cache
def _known(library: str) -> frozenset[str]:
    """Names of the classification models of a library."""
    module = _library(library)
    if library == "torchvision":
        return frozenset(module.models.list_models(module=module.models))
    return frozenset(module.list_models())


def _torchvision(name: str, arguments: ModelArguments) -> nn.Module:
    if arguments.in_channels != 3:
        raise UsageError(
            f"model 'torchvision:{name}' takes images of 3 channels, not {arguments.in_channels}; "
            "give --image-size HEIGHTxWIDTHx3, or timm's model of that name"
        )
    more = {"aux_logits": False, "init_weights": False} if name in _AUXILIARY else {}
    with _failing(f"torchvision:{name}"):
        return _library("torchvision").models.get_model(name, weights=None, num_classes=arguments.num_classes, **more)


def _timm(name: str, arguments: ModelArguments) -> nn.Module:
    with _failing(f"timm:{name}"):
        return _library("timm").create_model(
            name, pretrained=False, num_classes=arguments.num_classes, in_chans=arguments.in_channels
        )


def _factory(spec: Spec) -> Callable[..., Any]:
    module = _module(str(Path(spec.where).resolve())) if spec.is_file else _import(spec.where)
    factory = getattr(module, spec.name, None)
    if factory is None:
        own = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise UnknownNameError(f"factory in {spec.where}", spec.name, own)
    if isinstance(factory, nn.Module):
        raise UsageError(f"'{spec.name}' in {spec.where} is a model, not a function that makes one; put it into one")
    if not callable(factory):
        raise UsageError(
            f"'{spec.name}' in {spec.where} is a {type(factory).__name__}; name a function or class that makes a model"
        )
    return factory


@cache
def _module(path: str) -> ModuleType:
    """The module in a file; run once, with its own folder searched for what it imports, as when it is called."""
    spec = importlib.util.spec_from_file_location(f"edgecnn_own_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise BadFileError(f"{path} is not a Python file; a model's file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and the like look themselves up there
    with _failing(path), _searched(str(Path(path).parent)):
        spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    with _failing(name), _searched(os.getcwd()):
        return importlib.import_module(name)


@contextmanager
def _searched(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """Turn whatever a model's own code raises into a UsageError that names ``what``."""
    try:
        yield
    except (UsageError, MissingExtraError):
        raise
    except (Exception, SystemExit) as error:  # another's code: it may raise anything
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise UsageError(f"the code of '{what}' failed: {' '.join(reason.split())[:300]}") from error


def _call(spec: Spec, factory: Callable[..., Any], arguments: ModelArguments) -> nn.Module:
    offered = {
        "num_classes": arguments.num_classes,
        "in_channels": arguments.in_channels,
        "in_chans": arguments.in_channels,
        "image_size": arguments.image_size,
        "img_size": arguments.image_size,
    }
    with _failing(f"{spec.where}:{spec.name}"):  # of a class that is written in C nobody knows
        parameters = inspect.signature(factory).parameters
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [
        name for name, each in parameters.items()
        if each.kind not in kinds and each.default is each.empty and name not in offered
    ]  # fmt: skip
    if missing:
        raise UsageError(
            f"'{spec.name}' in {spec.where} cannot be called without {', '.join(missing)}, and only "
            f"{', '.join(offered)} are known here; write a function that needs no others"
        )
    chosen = {name: value for name, value in offered.items() if name in parameters}
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        chosen |= {"num_classes": arguments.num_classes}
    folder = str(Path(spec.where).resolve().parent) if spec.is_file else os.getcwd()
    with _failing(f"{spec.where}:{spec.name}"), _searched(folder):  # it may import only now
        model = factory(**chosen)
    if not isinstance(model, nn.Module):
        raise UsageError(f"'{spec.name}' in {spec.where} gives a {type(model).__name__}, not a torch.nn.Module")
    return model
