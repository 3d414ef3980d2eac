"""Which model, weights and images a command is about: the options that say it, and the Source they come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import click

from edgecnn.cli.options import (
    broken_option,
    data_option,
    image_option,
    mean_option,
    model_option,
    std_option,
)
from edgecnn.errors import UsageError
from edgecnn.quantize.recipe import CALIBRATION_IMAGES

if TYPE_CHECKING:
    from edgecnn.checkpoint import Header
    from edgecnn.export.source import Source
    from edgecnn.models import Normalization

RECORDED_ALREADY = "--mean and --std are recorded with these weights already; leave them away"
weights_option = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE|TARGET",
    help="A .safetensors file; for a model from outside, also a .pth with a state dict; or what weights that ship were "
    "pruned to, such as macs:0.5. Default: the whole weights that ship, or those that a function of yours gives the "
    "model.",
)


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a click command; ``SourceWords.take`` takes what they said out of the rest."""
    options = (model_option, weights_option, data_option, image_option, mean_option, std_option, broken_option)
    for option in reversed(options):
        command = option(command)
    return command


def say(line: str) -> None:
    """Tell the person waiting what is being done."""
    click.echo(line, err=True)


@dataclass(frozen=True)
class SourceWords:
    """What the options said; ``image`` is (height, width, channels), None as all others that were not given."""

    model: str
    weights: Path | None
    data: str
    image: tuple[int, int, int] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    on_broken: str

    @classmethod
    def take(cls, options: dict[str, Any]) -> Self:
        """Those of ``options`` that are its own, which are gone from there afterwards."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls)})

    def source(self, calibration: int | Literal["synthetic"]) -> Source:
        """The model and its data, or images made from it. Raises what load_source and make_source raise."""
        own = normalization_from(self.mean, self.std)
        if calibration == "synthetic":
            if self.on_broken != "refuse":
                raise UsageError("--on-broken is for images, and --calibration synthetic reads none; leave it out")
            return make_source(self.model, self.weights, self.data, self.image, own)
        return load_source(self.model, self.weights, self.data, self.on_broken, calibration, self.image, own)


def normalization_from(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Normalization | None:
    """What --mean and --std say together. Raises UsageError where there is one without the other."""
    from edgecnn.models import Normalization

    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise UsageError("--mean and --std are given together: the model wants (pixel / 255 - mean) / std")
    return Normalization(mean, std)


def load_source(
    model: str,
    weights: Path | None,
    data: str,
    on_broken: str,
    calibration: int,
    image: tuple[int, int, int] | None = None,
    normalization: Normalization | None = None,
) -> Source:
    """The model and its data. Raises UsageError for names and files that are not there or do not fit."""
    from edgecnn import checkpoint, models
    from edgecnn.data import registry
    from edgecnn.export.source import Source, find_weights, foreign_weights

    models.check(model)
    weights, pruned_to = _file_or_target(model, weights)
    foreign = models.is_own(model) and (weights is None or not checkpoint.has_header(weights))
    loaded = None if weights is None or foreign else checkpoint.load_model(weights, model)
    if loaded is not None:
        image = _recorded_size(loaded[1], weights, image)
    if normalization is not None and not foreign:
        raise UsageError(RECORDED_ALREADY)
    dataset = registry.load(data, image=image, on_broken=on_broken)
    if dataset.note:
        click.secho(dataset.note, err=True, bold=True)
    if foreign:
        if weights is None:
            say(f"no --weights: taking those that {model} gives the model")
        if image is None and data not in registry.names():
            say(f"no --image-size: images are brought to {_size(dataset.image)}, whatever {model} was trained on")
        network, header = foreign_weights(model, weights, dataset, normalization)
    else:
        network, header = loaded or find_weights(model, dataset.name, pruned_to)
    if calibration > (there := len(dataset.train)):
        if calibration != CALIBRATION_IMAGES:
            raise UsageError(f"--calibration {calibration}, but {dataset.name} has {there} training images; lower it")
        say(f"calibrating with all {there} training images, where {CALIBRATION_IMAGES} are usual")
    return Source(network, header, dataset, calibration)


def make_source(
    model: str,
    weights: Path | None,
    data: str,
    image: tuple[int, int, int] | None = None,
    normalization: Normalization | None = None,
) -> Source:
    """The model, and images made from it instead of a data set; ``data`` only says which shipped weights are meant.

    Raises UsageError for names and files that are not there or do not fit, where 'auto' leaves the weights open, and
    for weights that do not say what classes and images they are for.
    """
    from edgecnn import checkpoint, models
    from edgecnn.data.registry import same
    from edgecnn.export.source import find_weights, without_data

    models.check(model)
    weights, pruned_to = _file_or_target(model, weights)
    if models.is_own(model) and (weights is None or (weights.is_file() and not checkpoint.has_header(weights))):
        raise UsageError(
            "--calibration synthetic needs weights that 'edgecnn train' wrote, since they say what classes and images "
            f"'{model}' is for; give those as --weights, or calibrate on images"
        )
    if normalization is not None:
        raise UsageError(RECORDED_ALREADY)
    if weights is not None:
        network, header = checkpoint.load_model(weights, model)
        _recorded_size(header, weights, image)
        if data != "auto" and not same(data, header.dataset):
            raise UsageError(f"{weights} was trained on {header.dataset}, not on {data}; leave --data out")
    elif data == "auto":
        raise UsageError(
            "--calibration synthetic reads no data set, so '--data auto' cannot choose the weights; give --data NAME "
            "for those that ship (edgecnn models lists them), or --weights FILE"
        )
    else:
        network, header = find_weights(model, data, pruned_to)
        _recorded_size(header, "these weights", image)
    say(f"making images from the weights of {model}; no data set is read")
    source = without_data(network, header)
    click.secho(source.dataset.note, err=True, bold=True)
    return source


def _file_or_target(model: str, weights: Path | None) -> tuple[Path | None, str]:
    """What --weights says: a file, or the target that weights which ship were pruned to; each may be missing.

    Raises UsageError for a target that is none, or with a model from outside, of which nothing ships.
    """
    from edgecnn import models
    from edgecnn.prune.target import KINDS, Target

    if str(weights).partition(":")[0] not in KINDS:
        return weights, ""
    if models.is_own(model):
        raise UsageError(f"--weights {weights} means weights that ship, and none of '{model}' do; give --weights FILE")
    return None, str(Target.parse(str(weights)))


def _recorded_size(header: Header, weights: object, image: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Height, width and channels that ``weights`` are for. Raises UsageError if ``image`` says something else."""
    arguments = header.arguments
    recorded = (*arguments.image_size, arguments.in_channels)
    if image not in (None, recorded):
        raise UsageError(f"{weights} is for images of {_size(recorded)}, not {_size(image)}; leave --image-size away")
    return recorded


def _size(image: tuple[int, ...] | None) -> str:
    return "x".join(map(str, image or ()))
