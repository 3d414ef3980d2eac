"""Cutting and training by turns, until the network is as narrow as planned.

How many channels each layer keeps is decided before anything is trained (``search``); which ones, at the beginning of
each step, by what the training so far made of them. Each step is a training run of its own in a folder of its own, in
which part of the loss is what the unpruned network, or a better one, says of the same images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.data.dataset import DataSet, Split, held_apart, sample
from edgecnn.errors import BadFileError, UsageError
from edgecnn.models.widths import widths_of
from edgecnn.prune import importance, plan, search
from edgecnn.prune.groups import Channels, narrower
from edgecnn.prune.search import Measure, Plan
from edgecnn.prune.target import Target
from edgecnn.runtime.files import refuse_existing, write_bytes
from edgecnn.train import CHECKPOINT, WEIGHTS, Task, TrainRecipe, choose_device, run
from edgecnn.train.distill import identity
from edgecnn.train.folder import RunFolder, check_same_settings
from edgecnn.train.recipe import as_before, check_batch, suited
from edgecnn.train.start import check_unseen

PLAN = "plan.json"
EARLIER = 10  # an earlier step gets one epoch for so many of the last, which has to make good for all that was cut
IMAGES_SEED = 3
DISTILLATION = 0.5  # share of the loss, unless told otherwise


@dataclass(frozen=True)
class Pruning:
    """What is asked for: ``target`` in ``steps``, channels chosen by ``importance`` in multiples of ``multiple``.

    Raises UnknownNameError for an importance that is none, UsageError for numbers below 1.
    """

    target: Target
    importance: str = importance.L2
    steps: int = 3
    multiple: int = plan.MULTIPLE

    def __post_init__(self) -> None:
        importance.check(self.importance)
        for name in ("steps", "multiple"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, but must be 1 or more")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"target": str(self.target)}


def settings(header: Header, *, mirrorable: bool = True, **changes: Any) -> TrainRecipe:
    """The settings of a step's training for float weights with this ``header``; ``changes`` override.

    The optimizer is the one the weights were trained with, images are augmented and labels smoothed as they were; where
    nobody knows, it is SGD, and images are mirrored if they are ``mirrorable``. Raises UsageError, naming the setting,
    for a value that makes no training.
    """
    recipe = TrainRecipe(
        epochs=20, warmup_epochs=0.5, distillation=DISTILLATION, **suited(header.recipe.get("optimizer", "sgd")),
        **as_before(header.recipe, mirrorable),
    )  # fmt: skip
    return replace(recipe, **changes)


def prune(
    model: nn.Module,
    header: Header,
    data: DataSet,
    pruning: Pruning,
    recipe: TrainRecipe,
    out: Path,
    *,
    measure: Measure | None,
    say: Callable[[str], None],
    teacher: nn.Module | None = None,
    origin: Mapping[str, Any] | None = None,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
    command: str = "",
    silent: bool = False,
) -> tuple[Header, Plan]:
    """Prune float ``model``, which has ``header``, and write weights, a plan and a run for each step into ``out``.

    The ``recipe`` is that of the last step; those before have a tenth of its epochs each, one at least. ``measure``
    says what a network costs, for a target that only a file can tell; ``say`` hears of what is done, and a ``silent``
    run does not say how far its training is. The recipe's ``distillation`` is from ``teacher``, of which ``origin`` is
    known, or from the unpruned network. Gives the header of the weights and the plan. The rest, and what is
    raised, is as in ``edgecnn.train.train``.
    """
    choose_device(device)  # and all else that may be refused, before minutes are spent on a plan
    check_unseen(header, data, recipe)
    work = _Work(model, header, data, pruning, recipe, out, teacher, origin or {})
    work.check_batch()
    work.check_folder(resume, force)
    with RunFolder(out).claimed():
        found = work.decided(resume, measure, say)
        network, seconds, epochs = model, 0.0, 0
        for number, sizes in enumerate(found.steps, 1):
            share = work.shape.macs(sizes) / work.shape.macs(work.shape.whole)
            say(f"step {number} of {pruning.steps}: {share:.1%} of the MACs")
            network, last = work.step(number, sizes, network, device, resume, command, silent)
            seconds += last.training["seconds"]
            epochs += last.training["epochs"]
        training = last.training | {"seconds": round(seconds, 1), "epochs": epochs}
        done = replace(last, training=training)
        checkpoint.save(out / WEIGHTS, done, network.state_dict())
    return done, found


class _Work:
    """What all steps share."""

    def __init__(
        self, model: nn.Module, header: Header, data: DataSet, pruning: Pruning, recipe: TrainRecipe, out: Path,
        teacher: nn.Module | None, origin: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.model, self.header, self.data, self.pruning = model, header, data, pruning
        self.recipe, self.out = recipe, out
        self.teacher, self.origin = teacher or model, dict(origin)
        self.taught = {} if teacher is None else {"teacher": identity(teacher)}
        self._plan = out / PLAN
        self.channels = Channels(model, header.arguments)
        self.shape = plan.shape_of(model, header.arguments, self.channels.groups)
        self.settings = pruning.to_json() | {"float_weights": checkpoint.digest(model)} | self.taught
        self._planned = self.settings | {"dataset": data.name}

    def check_batch(self) -> None:
        """Raise UsageError if there are fewer images than a batch has, or none is held out where some are to be."""
        check_batch(len(self._train()), self.recipe.batch_size)

    def check_folder(self, resume: bool, force: bool) -> None:
        """Raise OutputExistsError for a run that is not replaced, BadFileError for one that is not there to resume."""
        if resume and not self._plan.exists():
            raise BadFileError(f"nothing to resume: {self._plan} does not exist; run without --resume")
        for path in [] if resume else self._files():
            refuse_existing(path, force)
        RunFolder(self.out).prove_writable()

    def decided(self, resume: bool, measure: Measure | None, say: Callable[[str], None]) -> Plan:
        """The plan: that of the run that is resumed, or a new one, which is written down."""
        if resume:
            return self._read()
        scores = importance.scores(self.channels, self.pruning.importance, self._images())
        whole = plan.Path.of(self.shape, scores, self.pruning.target.kind, self.pruning.multiple)

        def cut(sizes: plan.Sizes) -> nn.Module:
            return Channels(self.model, self.header.arguments).cut(sizes, scores).eval()

        found = search.find(whole, self.pruning.target, self.pruning.steps, cut, measure, say)
        for path in self._files():
            path.unlink(missing_ok=True)  # of a run that this one replaces
        write_bytes(self._plan, json.dumps({"settings": self._planned} | found.to_json(), indent=1).encode())
        return found

    def step(
        self, number: int, sizes: plan.Sizes, before: nn.Module, device: str, resume: bool, command: str, silent: bool
    ) -> tuple[nn.Module, Header]:
        """The network after a step, which is made, gone on with, or there already."""
        folder = self.out / f"step-{number}"
        arguments, recipe = self.header.arguments, self._recipe(number)
        start = self._header(number, sizes, recipe, command)

        def build() -> nn.Module:
            channels = Channels(before, arguments)
            return channels.cut(sizes, importance.scores(channels, self.pruning.importance, self._images()))

        if resume and (folder / WEIGHTS).exists():
            check_same_settings(folder, checkpoint.load(folder / WEIGHTS)[0].recipe, start.recipe)
        else:
            task = Task(start, build, teacher=self.teacher, silent=silent, earlier=True)
            go_on = resume and (folder / CHECKPOINT).exists()
            if recipe.compile:
                torch.compiler.reset()  # it counts every network's layers, and after some stops compiling
            run(task, self.data, recipe, folder, device=device, resume=go_on, force=True)
        return checkpoint.load_model(folder / WEIGHTS, self.header.model)

    def _recipe(self, number: int) -> TrainRecipe:
        if number == self.pruning.steps:
            return self.recipe
        return replace(self.recipe, epochs=max(1, self.recipe.epochs // EARLIER))

    def _header(self, number: int, sizes: plan.Sizes, recipe: TrainRecipe, command: str) -> Header:
        whole = widths_of(self.model)
        narrow = narrower(whole, self.channels.groups, sizes)
        changed = {name: pair for name, pair in narrow.items() if pair != whole[name]}
        header = self.header
        return Header(
            header.model, header.arguments, self.data.name, self.data.classes,
            recipe.to_json() | {"pruning": self.settings | {"step": number}} | self.taught,
            normalization=header.normalization, widths=header.widths | changed, command=command, teacher=self.origin,
            start=header.origin,
        )  # fmt: skip

    def _train(self) -> Split:
        """The training images without those held out."""
        return held_apart(self.data.train, self.recipe.validation)[0]

    def _images(self) -> Split:
        """Training images that importance is read from."""
        return sample(self._train(), importance.TAYLOR_IMAGES, IMAGES_SEED)

    def _files(self) -> list[Path]:
        """All that a run leaves, whether it is there or not."""
        steps = (RunFolder(folder).files for folder in self.out.glob("step-*"))
        return [self._plan, self.out / WEIGHTS, *chain.from_iterable(steps)]

    def _read(self) -> Plan:
        path = self._plan
        try:
            value = json.loads(path.read_text("utf-8"))
            found, there = Plan.from_json(value), dict(value["settings"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BadFileError(f"{path} is no plan that 'edgecnn prune' wrote ({error!r}); start again") from error
        # Plans did not name the images at first.
        check_same_settings(path.parent, {"dataset": self.data.name} | there, self._planned)
        whole, sizes = self.shape.whole, self.shape.whole
        for step in found.steps:
            if step.keys() != whole.keys() or any(step[name] > sizes[name] for name in step):
                raise BadFileError(f"{path} is no plan for '{self.header.model}'; start again")
            sizes = step
        if len(found.steps) != self.pruning.steps:
            raise BadFileError(f"{path} has {len(found.steps)} steps, not {self.pruning.steps}; start again")
        return found
