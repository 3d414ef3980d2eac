"""``edgecnn train``: images to trained weights."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgecnn.cli.options import (
    VIEWS,
    broken_option,
    compile_option,
    data_option,
    first_process,
    force_option,
    image_option,
    json_option,
    mean_option,
    model_option,
    print_json,
    std_option,
    teacher_option,
)
from edgecnn.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from edgecnn.train.start import Start

AUTO = "auto"  # of --precision
DISTILLATION = 0.5


@click.command(name="train")
@model_option
@data_option
@image_option
@mean_option
@std_option
@broken_option
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE|DATA[:TARGET]",
    help="Go on from these: a file of 'edgecnn train' or 'prune', or those that ship for a data set, such as cifar10, "
    "whole or pruned to a target: cifar10:macs:0.5.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. Default: runs/MODEL-DATA.")
@click.option("--epochs", type=click.IntRange(1), default=60, show_default=True, help="Passes over the images.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Images a step, in all.")
@click.option("--optimizer", default="muon", show_default=True, help="muon, sgd or adamw.")
@click.option("--learning-rate", type=float, help="Peak, after warm-up. Default: 0.05; sgd 0.1, adamw 0.003.")
@click.option("--weight-decay", type=float, help="Default: 0.05; sgd 0.0005, since its decay is part of the gradient.")
@click.option("--label-smoothing", type=float, default=0.1, show_default=True, help="0 leaves labels as they are.")
@teacher_option
@click.option("--distillation", type=float, help="Share of the loss that is the teacher's. Default: 0.5 with one.")
@click.option(
    "--views",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help=VIEWS,
)
@click.option("--average", type=float, default=0.998, show_default=True, help="Decay of the averaged weights.")
@click.option("--dropout", type=float, help="Probability in dropout layers. Default: as the model is made.")
@click.option("--shift", type=click.IntRange(0), default=4, show_default=True, help="Random shift in pixels.")
@click.option("--flip/--no-flip", default=None, help="Random mirroring. Default: as the data set allows.")
@click.option("--cutout", type=click.IntRange(0), default=0, show_default=True, help="Side of the hidden square.")
@click.option("--precision", default=AUTO, show_default=True, help="auto (bfloat16 on CUDA), float32 or bfloat16.")
@compile_option(default=False)
@click.option("--validation", type=float, default=0.0, show_default=True, help="Fraction held out; test is not used.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives another training.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run folder.")
@force_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    model: str,
    data: str,
    image: tuple[int, int, int] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    on_broken: str,
    weights: Path | None,
    out: Path | None,
    teachers: tuple[Path, ...],
    distillation: float | None,
    flip: bool | None,
    shift: int,
    cutout: int,
    precision: str,
    compiled: bool,
    device: str,
    resume: bool,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a model and write its weights, a checkpoint for --resume and a curve.

    With --weights training goes on from those, also for other classes than they know: the last layer then starts anew.
    Weights of a design go on as a deeper one: its other blocks begin by adding nothing to their input.

    On several GPUs: torchrun --nproc-per-node N -m edgecnn train ...
    """
    from edgecnn import models
    from edgecnn.cli.sources import RECORDED_ALREADY, normalization_from
    from edgecnn.data import registry
    from edgecnn.data.augment import Augmentation
    from edgecnn.train import CURVE, WEIGHTS, TrainRecipe, choose_device, train
    from edgecnn.train.distill import load_teachers
    from edgecnn.train.recipe import PRECISIONS, suited, warm_up

    models.check(model)
    normalization = normalization_from(mean, std)
    start = None if weights is None else start_from(model, weights)
    if start is not None:
        if normalization is not None:
            raise UsageError(RECORDED_ALREADY)
        if image is None and data not in registry.names():
            image = (*start.header.arguments.image_size, start.header.arguments.in_channels)
    if distillation is None:
        distillation = DISTILLATION if teachers else 0.0
    elif not teachers:
        raise UsageError("--distillation is the share of a teacher; give --teacher NAME or FILE")
    check_heard(teachers, distillation)
    if settings["views"] and not teachers:
        raise UsageError("--views is for a teacher's answers; give --teacher NAME or FILE")
    if precision not in (AUTO, *PRECISIONS):
        raise UnknownNameError("precision", precision, (AUTO, *PRECISIONS))
    if precision == AUTO:
        precision = "bfloat16" if choose_device(device).type == "cuda" else "float32"
    # The settings are checked before the data is read, which may take a download; mirroring is the data set's to say.
    given = {name: value for name, value in settings.items() if value is not None}
    recipe = TrainRecipe(
        augmentation=Augmentation(shift, flip is not False, cutout), precision=precision, compile=compiled,
        distillation=distillation, warmup_epochs=warm_up(settings["epochs"]), **suited(settings["optimizer"]) | given,
    )  # fmt: skip
    dataset = registry.load(data, image=image, on_broken=on_broken)
    if flip is None:
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, flip=dataset.mirrorable))
    if dataset.note and first_process():
        click.secho(dataset.note, err=True, bold=True)
    if start is not None and not start.keeps_all(dataset) and first_process():
        click.echo(f"the last layer, {start.last}, starts anew: these weights know other classes", err=True)
    if start is not None and start.blocks_kept is not None and first_process():
        click.echo(f"the blocks of {start.header.model} go on; others begin by adding nothing to their input", err=True)
    folder = out or Path("runs") / f"{models.short_name(model)}-{Path(dataset.name).name}"
    check_apart(folder, [*([] if weights is None else [weights]), *teachers])
    recorded = recorded_command(context, dataset.name)
    taught_by, origin = load_teachers(teachers, dataset) if teachers else (None, None)
    if start is None:
        normalization = normalization or models.default_normalization(model, dataset.image[2])
    header = train(
        model, dataset, recipe, folder, device=device, resume=resume, force=force, command=recorded,
        normalization=normalization, teacher=taught_by, origin=origin, start=start,
    )  # fmt: skip
    kind = "validation" if recipe.validation else "test"
    accuracy, images = (header.metrics[f"{kind}_{what}"] for what in ("accuracy", "images"))
    guessed = 1 / len(dataset.classes)
    if accuracy < guessed + 2 * math.sqrt(guessed * (1 - guessed) / images) and first_process():
        click.echo(
            f"nothing was learned: guessing is right on {guessed:.1%}; lower --learning-rate ({recipe.learning_rate}), "
            "or train for more --epochs",
            err=True,
        )
    if as_json:
        print_json({
            "model": model,
            "dataset": dataset.name,
            "note": dataset.note,
            "metrics": header.metrics,
            "training": header.training,
            "weights": str(folder / WEIGHTS),
            "curve": str(folder / CURVE),
        })  # fmt: skip
    elif first_process():
        click.echo(
            f"{kind} accuracy {accuracy:.4f} on {images:,.0f} images of {dataset.name}, "
            f"{header.training['seconds']:.0f} s"
        )
        click.echo(f"weights {folder / WEIGHTS}")


def check_apart(folder: Path, given: Iterable[Path], option: str = "--out") -> None:
    """Raise UsageError if a run in ``folder``, or a step of it, would replace a file that it is ``given``.

    ``option`` is the one that names the folder.
    """
    from edgecnn.train.folder import RunFolder

    runs = [folder, *folder.glob("step-*")]
    replaced = {file.resolve() for run in runs for file in RunFolder(run).files}
    for path in (each.resolve() for each in given):
        if path in replaced:
            raise UsageError(
                f"this run would replace {path}, which it begins with or learns from; give another {option}"
            )


def check_heard(teachers: Sequence[Path], distillation: float | None) -> None:
    """Raise UsageError for a teacher of whom nothing would be learned, and whom weights would yet name as theirs."""
    if distillation == 0 and teachers:
        raise UsageError("--distillation 0 learns nothing from a --teacher; leave one of the two away")


def start_from(model: str, weights: Path) -> Start:
    """What --weights says: those that ship for a data set of that name, whole or pruned to a target, else a file.

    Raises BadFileError for a file that is none, UnknownNameError for a name that means nothing, UsageError for a target
    that is none.
    """
    from edgecnn import checkpoint
    from edgecnn.data import registry
    from edgecnn.export.source import find_weights
    from edgecnn.models.deepen import design_of
    from edgecnn.prune.target import Target
    from edgecnn.train.start import Start

    dataset, colon, target = str(weights).partition(":")
    if dataset in registry.names():
        return Start(*find_weights(model, dataset, str(Target.parse(target)) if colon else ""))
    checkpoint.check_known("weights", weights, {header.dataset for _, header in checkpoint.all_shipped(model)})
    header, tensors = checkpoint.load(weights)
    if header.model != model and design_of(header.model) and design_of(model):
        return Start(*checkpoint.model_of(weights, header, tensors), model)
    return Start(*checkpoint.model_of(weights, header, tensors, model))


def recorded_command(context: click.Context, dataset: str) -> str:
    """The command line that gives this run again: the options that were set, without where to put the result.

    ``dataset`` is what was trained on, which '--data auto' leaves open. Of an absolute path only the name is recorded:
    weights travel, and the folders of this machine are nobody's business.
    """
    words = ["edgecnn", context.command.name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in ("out", "run", "resume", "force", "as_json"):
            continue
        if name == "data":
            words += ["--data", _travelling(Path(dataset))]
        elif context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.params[name]
            if name == "model":
                words += [parameter.opts[0], _travelling(Path(value))]
            elif name == "teachers":
                words += [word for each in value for word in (parameter.opts[0], _travelling(each))]
            elif isinstance(value, tuple):
                words += [parameter.opts[0], ("x" if name == "image" else ",").join(map(str, value))]
            elif isinstance(value, Path):
                words += [parameter.opts[0], _travelling(value)]
            elif value is True:
                words.append(parameter.opts[0])
            elif value is False:
                words.append(parameter.secondary_opts[0])
            else:
                words += [parameter.opts[0], str(value)]
    return shlex.join(words)


def _travelling(path: Path) -> str:
    return path.name if path.is_absolute() else str(path)
