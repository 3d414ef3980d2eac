"""Training from the first look at the data to the weights file."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgecnn import models
from edgecnn.checkpoint import Header, digest
from edgecnn.data.dataset import DataSet, Split, everything, held_apart
from edgecnn.errors import UsageError
from edgecnn.evaluate import score_model
from edgecnn.measure.machine import read_machine
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.strided import right_gradients
from edgecnn.train.distill import identity, prepared
from edgecnn.train.epoch import Trainer
from edgecnn.train.folder import RunFolder
from edgecnn.train.processes import Processes, choose_device, joined, slow_precision
from edgecnn.train.progress import Progress
from edgecnn.train.recipe import TrainRecipe, check_batch
from edgecnn.train.start import Start, check_unseen
from edgecnn.train.state import State
from edgecnn.train.views import Fresh, Source, Views


def _nothing(state: State, epoch: int) -> None:
    pass


def _unheard(row: Mapping[str, float]) -> None:
    pass


def _as_it_is(model: nn.Module) -> nn.Module:
    return model


@dataclass(frozen=True)
class Task:
    """What a run trains: ``build`` gives the model as it is before the first step, ``header`` says what it is.

    ``before_epoch`` is told the state and the epoch, counted from 0, before each. ``finish`` gets the averaged model
    after the last and gives, in its place, what is scored and kept. ``teacher`` is what the recipe's ``distillation``
    is from. ``after_epoch`` is told the line of the curve after each. A ``silent`` run does not say how far it is.
    ``earlier`` says that work before this run is kept, which can be gone on with.
    """

    header: Header
    build: Callable[[], nn.Module]
    before_epoch: Callable[[State, int], None] = _nothing
    finish: Callable[[nn.Module], nn.Module] = _as_it_is
    teacher: nn.Module | None = None
    after_epoch: Callable[[Mapping[str, float]], None] = _unheard
    silent: bool = False
    earlier: bool = False


def train(
    model: str,
    data: DataSet,
    recipe: TrainRecipe,
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
    command: str = "",
    normalization: Normalization | None = None,
    teacher: nn.Module | None = None,
    origin: Mapping[str, Any] | None = None,
    start: Start | None = None,
) -> Header:
    """Train ``model`` on ``data`` and write weights, a checkpoint and a curve into the folder ``out``.

    Returns the header of the weights: ``metrics`` holds ``test_accuracy`` (fraction of the test images, scored once, at
    the end), or ``validation_accuracy`` where the recipe holds images out. Under torchrun all processes return it, and
    the first writes. ``resume`` goes on from the checkpoint in ``out``; ``command`` is recorded in the header.
    ``normalization`` is what the architecture sees of its input; None for edgecnn's own. ``teacher`` takes the same
    images to logits of the same classes, and is what the recipe's ``distillation`` is from; ``origin`` is what is known
    of how it was made, for the header. ``start`` is what training goes on from, and has a normalization of its own;
    None for fresh weights.

    Raises OutputExistsError if ``out`` holds a run and neither ``resume`` nor ``force`` is given; OutputError if it
    cannot be written; UnknownNameError for the model; BadFileError for a checkpoint that cannot be resumed and a start
    that does not fit the images; UsageError for settings that do not fit the data, the device or the processes, for
    images held out that the start was trained on, and for a loss that is no longer finite.
    """
    arguments = ModelArguments.for_images(data.image, len(data.classes))
    own = None if normalization is None else normalization.for_channels(arguments.in_channels)
    settings = recipe.to_json() | ({} if teacher is None else {"teacher": identity(teacher)})
    header = Header(
        model, arguments, data.name, data.classes, settings, command=command, normalization=own,
        teacher=dict(origin or {}),
    )  # fmt: skip
    if start is not None:
        check_unseen(start.header, data, recipe)
        header = replace(
            header, recipe=settings | {"weights": digest(start.network)}, normalization=start.header.normalization,
            widths=start.widths(data), start=start.header.origin,
        )  # fmt: skip

    def build() -> nn.Module:
        network = models.create(model, arguments, own) if start is None else start.build(data)
        if recipe.dropout is not None and not _dropouts(network):
            raise UsageError(f"dropout is {recipe.dropout}, but '{model}' has no layer for it; leave that setting out")
        return network

    return run(Task(header, build, teacher=teacher), data, recipe, out, device=device, resume=resume, force=force)


def run(task: Task, data: DataSet, recipe: TrainRecipe, out: Path, *, device: str, resume: bool, force: bool) -> Header:
    """``train`` for any task; raises the same errors."""
    place = choose_device(device)
    folder = RunFolder(out)
    with joined(place) as processes, ExitStack() as until_done:
        fitted, held = _split(data, recipe, processes)
        header = task.header
        folder.check(resume, force)
        processes.wait()  # until all have looked, before the first writes
        if processes.first:
            folder.prove_writable()
            until_done.enter_context(folder.claimed())

        torch.manual_seed(recipe.seed)
        live = task.build().to(place)
        if recipe.dropout is not None:
            for layer in _dropouts(live):
                layer.p = recipe.dropout
        if not models.is_own(header.model):  # others' models may count on the usual order
            live = live.to(memory_format=torch.channels_last)
        state = State.start(live, recipe)
        curve = folder.resume(header, state) if resume else []

        until_done.enter_context(right_gradients(live))
        runner = processes.parallel(live, place)
        teacher = _teacher(task, recipe, place)
        if recipe.compile:
            runner = torch.compile(runner)  # type: ignore[assignment]
        images, labels = (torch.from_numpy(array).to(place) for array in everything(fitted))
        source: Source = Fresh(images, labels, recipe, processes.rank)
        if recipe.views and teacher is not None:
            source, teacher = Views(images, labels, recipe, teacher, processes), None
        trainer = Trainer(recipe, processes, state, runner, source, len(labels), place, teacher)

        with Progress(
            recipe.epochs, trainer.steps, state.epoch, folder.checkpoint,
            silent=task.silent or not processes.first, earlier=task.earlier,
        ) as progress:  # fmt: skip
            if slow := slow_precision(recipe.precision, place):
                progress.say(slow)
            for epoch in range(state.epoch, recipe.epochs):
                started = time.monotonic()
                task.before_epoch(state, epoch)
                loss, accuracy = trainer.one_epoch(epoch, progress)
                state.epoch = epoch + 1
                took = time.monotonic() - started
                state.seconds += took
                row = {"epoch": state.epoch, "loss": loss, "train_accuracy": accuracy, "seconds": state.seconds}
                if held is not None:
                    row["validation_accuracy"] = score_model(state.result, held, place).accuracy
                curve.append(row)
                if processes.first:
                    folder.save_epoch(header, state, curve)
                progress.epoch(row, took)
                task.after_epoch(row)

            kind, judges = ("test", data.test) if held is None else ("validation", held)
            result = task.finish(state.result)
            metrics = {"train_loss": curve[-1]["loss"]} | _final_score(kind, result, judges, place)
            training = {"seconds": round(state.seconds, 1), "epochs": state.epoch, **_machine(place, processes)}
            done = replace(header, metrics=metrics, training=training)
            if processes.first:
                folder.save_weights(done, result)
            processes.wait()
    return done


def _dropouts(model: nn.Module) -> list[nn.Dropout | nn.Dropout2d]:
    return [module for module in model.modules() if isinstance(module, nn.Dropout | nn.Dropout2d)]


def _teacher(task: Task, recipe: TrainRecipe, place: torch.device) -> nn.Module | None:
    """The task's teacher as it is asked, where the recipe has a use for it."""
    if recipe.distillation == 0:
        return None
    if task.teacher is None:
        raise UsageError(f"distillation is {recipe.distillation}, but there is no teacher; set it to 0")
    teacher = prepared(copy.deepcopy(task.teacher)).to(place).to(memory_format=torch.channels_last)
    # Answers to views are kept for others, compiled or not, and are asked for once.
    return torch.compile(teacher) if recipe.compile and not recipe.views else teacher  # type: ignore[return-value]


def _split(data: DataSet, recipe: TrainRecipe, processes: Processes) -> tuple[Split, Split | None]:
    """The images to train on, and those held out, if any. Raises UsageError where the settings do not fit them."""
    fitted, held = held_apart(data.train, recipe.validation)
    check_batch(len(fitted), recipe.batch_size)
    if recipe.batch_size % processes.count:
        raise UsageError(
            f"batch size {recipe.batch_size} cannot be shared by {processes.count} processes; "
            f"choose a multiple of {processes.count}"
        )
    return fitted, held


def _final_score(kind: str, model: nn.Module, split: Split, device: torch.device) -> dict[str, float]:
    result = score_model(model, split, device)
    return {f"{kind}_accuracy": result.accuracy, f"{kind}_images": result.images}


def _machine(device: torch.device, processes: Processes) -> dict[str, Any]:
    """What the training ran on, to stand beside its duration."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else read_machine().cpu
    return {"device": name, "threads": torch.get_num_threads(), "processes": processes.count}
