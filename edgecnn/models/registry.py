"""The model registry: a dict of factories that other packages can add to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from edgecnn.errors import UnknownNameError, UsageError

Factory = Callable[..., nn.Module]

_FACTORIES: dict[str, Factory] = {}
_FAMILIES = ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8")
_ENTRY_POINTS = "edgecnn.models"


@dataclass(frozen=True)
class ModelArguments:
    """What every architecture is built from: classes, input channels and image size (height, width) in pixels."""

    num_classes: int = 10
    in_channels: int = 3
    image_size: tuple[int, int] = (32, 32)

    def __post_init__(self) -> None:
        if self.num_classes < 2 or self.in_channels < 1 or min(self.image_size) < 1:
            raise UsageError(f"{self} cannot be built: at least 2 classes, 1 channel and 1x1 pixels are needed")

    def to_json(self) -> dict[str, Any]:
        """The arguments as JSON values."""
        return asdict(self) | {"image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ModelArguments:
        """The inverse of ``to_json``."""
        height, width = value["image_size"]
        return cls(int(value["num_classes"]), int(value["in_channels"]), (int(height), int(width)))


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
    """Names of all known models: our own in the order of the README, then those of other packages.

    Raises UsageError for a package whose models cannot be loaded.
    """
    for family in _FAMILIES:
        import_module(f"edgecnn.models.{family}")
    for entry in entry_points(group=_ENTRY_POINTS):
        try:
            entry.load()
        except (ImportError, AttributeError) as error:
            package = entry.dist.name if entry.dist else entry.value
            raise UsageError(
                f"the models of package '{package}' cannot be loaded ({error}); mend or uninstall it"
            ) from error
    return list(_FACTORIES)


def create(name: str, arguments: ModelArguments | None = None) -> nn.Module:
    """Build the architecture ``name`` with fresh weights.

    The module maps float32 images [n, channels, height, width] to logits [n, num_classes].
    Raises UnknownNameError for a name that is not registered, UsageError for an image that is too small.
    """
    if name not in names():
        raise UnknownNameError("model", name, _FACTORIES)
    chosen = arguments or ModelArguments()
    try:
        return _FACTORIES[name](chosen.num_classes, chosen.in_channels, chosen.image_size)
    except RuntimeError as error:
        height, width = chosen.image_size
        raise UsageError(f"model '{name}' cannot take images of {height}x{width}: {error}") from error
