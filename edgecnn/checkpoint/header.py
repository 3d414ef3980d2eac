"""What a weights file says about itself."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import UnionType
from typing import Any

import edgecnn
from edgecnn.errors import BadFileError, UsageError
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.widths import Widths, widths_from_json

_ORIGIN = ("model", "dataset", "recipe", "command", "metrics", "training", "widths", "teacher", "start")
_FORMAT = 1


def tool_versions(*packages: str) -> dict[str, str]:
    """Versions of Python, edgecnn and those of ``packages`` that are installed."""
    found = {"python": platform.python_version(), "edgecnn": edgecnn.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Header:
    """What a weights file says about itself.

    ``recipe`` are the training settings, ``metrics`` what was measured (accuracies are fractions of
    ``test_images`` or ``validation_images``), ``training`` the machine, the seconds it took and the epoch reached.
    ``normalization`` is the input normalization that the architecture was trained with, None for edgecnn's own.
    ``quantization`` says what weights were trained to be quantized for, and is empty for float weights. ``widths`` are
    the channels of those layers that were pruned, and empty for a whole network. ``teacher`` is the ``origin`` of the
    network that was learned from, and has those of several under 'together'; ``start`` is that of the weights that
    training began with. Each is empty without one.
    """

    model: str
    arguments: ModelArguments
    dataset: str
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=lambda: tool_versions("torch"))
    format: int = _FORMAT
    normalization: Normalization | None = None
    quantization: dict[str, Any] = field(default_factory=dict)
    widths: Widths = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)

    @property
    def pruned_to(self) -> str:
        """The target that the network was pruned to, such as 'macs:0.5'; empty for one that was not pruned.

        One that training went on from a pruned network is still of its shape, and goes by its target.
        """
        recipes = [stage.get("recipe", {}) for stage in self.stages()]
        return next((str(each["pruning"].get("target", "")) for each in recipes if "pruning" in each), "")

    def stages(self) -> Iterator[dict[str, Any]]:
        """Data set, recipe and training of these weights, then of those that training began with, and so on."""
        stage: dict[str, Any] = {"dataset": self.dataset, "recipe": self.recipe}
        stage |= {"training": self.training, "start": self.start}
        while stage:
            yield stage
            stage = stage.get("start", {})

    @property
    def origin(self) -> dict[str, Any]:
        """How the weights were made, as JSON values: for the headers of others that were made from them."""
        whole = json.loads(self.to_json())
        return {name: whole[name] for name in _ORIGIN if name in whole}

    def to_json(self) -> str:
        """One JSON object."""
        value = asdict(self) | {"arguments": self.arguments.to_json()}
        del value["normalization"]  # absent where there is none, as in files that are older than it
        if self.normalization is not None:
            value["normalization"] = self.normalization.to_json()
        for name in ("widths", "teacher", "start"):
            if not value[name]:
                del value[name]
        return json.dumps(value, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> Header:
        """The inverse of ``to_json``; raises BadFileError naming ``path`` for anything else."""
        try:
            value = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
            written = value["format"]
            if written == _FORMAT:
                value["arguments"] = ModelArguments.from_json(value["arguments"])
                value["classes"] = tuple(value["classes"])
                if value.get("normalization") is not None:
                    value["normalization"] = Normalization.from_json(value["normalization"])
                value["widths"] = widths_from_json(value.get("widths", {}))
                return _typed(cls(**value))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, UsageError) as error:
            raise BadFileError(f"{path} has a header that edgecnn did not write ({error!r})") from error
        raise BadFileError(f"{path} has header format {written}; this edgecnn reads format {_FORMAT}: upgrade edgecnn")


def _finite(number: str) -> float:
    """A number as JSON has it; raises ValueError for one that no header could be written with again."""
    found = float(number)
    if not math.isfinite(found):
        raise ValueError(f"{number} is no number that can be used")
    return found


def _whole(number: str) -> int:
    """The same of a whole number; raises OverflowError for one that no fraction can be held against."""
    found = int(number)
    float(found)
    return found


def _typed(header: Header) -> Header:
    """The header; raises TypeError where what it says is not of the kind that it should be."""
    whole = (header.recipe, header.metrics, header.training, header.versions, header.quantization, header.teacher)
    _check_kind(dict, *whole, header.start)
    for stage in header.stages():
        _check_kind(dict, stage)
        recipe = stage.get("recipe", {})
        _check_kind(dict, recipe)
        _check_kind(dict, recipe.get("pruning", {}))
        _check_kind(int | float, recipe.get("validation", 0.0))
        _check_kind(str, stage.get("dataset", ""))
    _check_kind(int | float, *header.metrics.values())
    _check_kind(str, header.model, header.command, header.created, *header.classes)
    _check_recipe(header.recipe)
    return header


def _check_recipe(recipe: Mapping[str, Any]) -> None:
    """Raise TypeError where a setting that others take over, from whichever edgecnn, is not of the kind it was."""
    augmentation = recipe.get("augmentation", {})
    _check_kind(dict, augmentation)
    _check_kind(int, *(augmentation.get(name, 0) for name in ("shift", "flip", "cutout")))
    _check_kind(int | float, *(recipe.get(name, 0.0) for name in ("distillation", "label_smoothing")))
    _check_kind(int | float | None, recipe.get("dropout"))
    _check_kind(str, recipe.get("optimizer", ""))


def _check_kind(kind: type | UnionType, *values: object) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{str(value)[:40]!r} is a {type(value).__name__}")
