"""Quantization-aware training: the QDQ graph of PTQ, trained on, so that weights and ranges suit each other.

The ranges of activations start as calibration found them and follow the batches; in the second part of the training
they stay, so that the weights settle on fixed grids. The scales of weights follow the weights. BatchNorm normalizes as
in the float training, and is folded with its running statistics into the weights that are quantized, at the end for
good. Half of the loss, or more, is what the float network says of the same images, which keeps a network that has seen
these images often from learning them by heart (A. Mishra and D. Marr, "Apprentice", 2017). What is kept is the moving
average of all of it, weights and ranges alike.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header
from edgecnn.data.augment import to_input
from edgecnn.data.dataset import DataSet
from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.batchnorm import fold_batchnorm_again, unfold_batchnorm
from edgecnn.quantize.dropout import bring_back
from edgecnn.quantize.fold import fold
from edgecnn.quantize.learned import learn_ranges, settle_ranges
from edgecnn.quantize.qdq import fit_biases, insert_quantizers, joined_quantizers
from edgecnn.quantize.recipe import SIMULATED, STATIC_W8A8, Recipe, parse
from edgecnn.quantize.simulate import (
    BITS,
    ActivationQuantizer,
    Mode,
    QuantizedConv2d,
    QuantizedLinear,
    set_mode,
)
from edgecnn.runtime.manifest import Qat
from edgecnn.runtime.records import decode_file
from edgecnn.train import WEIGHTS, Task, TrainRecipe, run
from edgecnn.train.recipe import as_before
from edgecnn.train.state import State

FOLLOWED = 0.5  # of the epochs; then ranges are frozen
FOLLOWING, LEARNED = "following", "learned"  # how ranges are found: by the batches, or like weights
_SCALES = ".smallest_scales"
DISTILLATION = 0.5  # share of the loss, at least


def settings(
    header: Header, quantized: Recipe = STATIC_W8A8, *, mirrorable: bool = True, **changes: Any
) -> TrainRecipe:
    """The settings for float weights with this ``header``: images are augmented as they were; ``changes`` override.

    Where nobody knows how they were, images are mirrored if they are ``mirrorable``. Half of the loss is the float
    network's, or more where weights learned more from a teacher: with half of it from labels depth_res ended below
    where its float training had, on the images it was trained on. Weights of 4 bits start where adaptive rounding left
    them, and small steps keep what that gained: at a learning rate of 0.01 depth_res ended below calibration, on the
    images it was trained on. Raises UsageError, naming the setting, for a value that makes no
    training.
    """
    recipe = TrainRecipe(
        epochs=4,
        optimizer="sgd",
        learning_rate=0.01 if quantized.weight_bits == BITS else 0.002,
        warmup_epochs=0.0,
        weight_decay=0.0,
        distillation=max(DISTILLATION, header.recipe.get("distillation", 0.0)),
        **as_before(header.recipe, mirrorable),
    )
    return replace(recipe, **changes)


@dataclass(frozen=True)
class Trained:
    """Weights and ranges for a recipe, and the header that says how they were trained.

    ``tensors`` are those of the QDQ graph: weights and biases by layer, ``low`` and ``high`` by quantizer. ``source``
    names them in messages.
    """

    header: Header
    tensors: Mapping[str, Tensor]
    source: Path

    @classmethod
    def load(cls, path: Path, model: nn.Module, header: Header) -> Trained:
        """What ``train`` wrote to ``path``, for the float ``model`` with ``header``.

        Raises BadFileError if it is no such file, says of itself what ``train`` does not write, or was trained from
        other float weights.
        """
        found, tensors = checkpoint.load(path)
        if found.quantization.get("recipe_name") not in [recipe.name for recipe in SIMULATED]:
            raise BadFileError(f"{path} was not written by 'edgecnn quantize --qat'; give it as --weights")
        if "curve" in found.training:
            raise BadFileError(f"{path} is the checkpoint of an unfinished training; go on with --qat --resume")
        if found.model != header.model and not (models.runs_code(found.model) and models.runs_code(header.model)):
            raise BadFileError(f"{path} holds weights of '{found.model}', not of '{header.model}'")
        if found.normalization != header.normalization:
            raise BadFileError(f"{path} was trained with another --mean and --std than these; give the same")
        if found.arguments != header.arguments:
            raise BadFileError(f"{path} was trained for other classes or another size of images than these weights")
        result = cls(found, tensors, path)
        _check_rewrites(result)
        if result.how.float_weights != checkpoint.digest(model):
            raise BadFileError(f"{path} was trained from other float weights than these; give them as --weights")
        return result

    @property
    def how(self) -> Qat:
        """How it was trained, as the manifest says it. Raises BadFileError where the header does not tell."""
        said = self.header.recipe | self.header.quantization
        names = [field.name for field in fields(Qat)]
        return decode_file(Qat, {name: said[name] for name in names if name in said}, self.source)

    @property
    def recipe(self) -> Recipe:
        """What it was trained to be quantized by."""
        return parse(self.header.quantization["recipe_name"])

    @property
    def rewrites(self) -> tuple[str, ...]:
        """The graph rewrites that it was trained for."""
        return tuple(self.header.quantization["rewrites"])

    @property
    def lasting_rewrites(self) -> tuple[str, ...]:
        """Those of them that changed what there was to train; weights and ranges fit no graph without them."""
        return _lasting(self.rewrites)

    def float_graph(self, model: nn.Module) -> fx.GraphModule:
        """The folded graph with the trained weights, nothing of it quantized."""
        graph_module = passes.apply(fold(model, self.header.arguments), self.lasting_rewrites, self.header.arguments)
        held = graph_module.state_dict()
        weights = {name: tensor for name, tensor in self.tensors.items() if name in held}
        checkpoint.fit(graph_module, weights, self.source)
        return graph_module

    def graph(self, model: nn.Module, rewrites: Iterable[str], float_layers: Iterable[str] = ()) -> fx.GraphModule:
        """The QDQ graph in SIMULATE mode with exactly the trained weights and ranges.

        ``rewrites`` are ``lasting_rewrites`` and any that only move numbers; ``float_layers`` stay float32, as in
        ``ptq.calibrate``. Raises UsageError for others, BadFileError for tensors that are no such weights and ranges.
        """
        chosen = passes.check_names(rewrites)
        if set(_lasting(chosen)) != set(self.lasting_rewrites):
            raise UsageError(
                f"{self.source} was trained with --passes {','.join(self.rewrites) or 'none'} and does not fit "
                f"{','.join(chosen) or 'none'}; leave --passes out, or train again with --qat"
            )
        moving = [name for name in chosen if name in passes.MOVING]
        plain = passes.apply(self.float_graph(model), moving, self.header.arguments)
        done = set(plain.state_dict())
        kept = tuple(float_layers)
        joined = joined_quantizers(insert_quantizers(copy.deepcopy(plain), self.recipe)) if kept else {}
        graph_module = insert_quantizers(plain, self.recipe, kept)
        learned = self.header.quantization.get("ranges") == LEARNED
        for name, tensor in graph_module.state_dict().items():
            if name not in done and (learned or not name.endswith(_SCALES)):
                part, _, what = name.rpartition(".")
                tensor.copy_(self._range(f"{joined.get(part, part)}.{what}", tensor))
        self._check_ranges(graph_module)
        fit_biases(graph_module)
        set_mode(graph_module, Mode.SIMULATE)
        return graph_module

    def _range(self, name: str, wanted: Tensor) -> Tensor:
        """The kept range, or scales of weights, that ``wanted`` of the graph is to be. Raises BadFileError."""
        if name not in self.tensors:
            raise BadFileError(f"{self.source} does not fit the model: it has no range '{name}'")
        kept = self.tensors[name]
        if not name.endswith(_SCALES):
            checkpoint.check_fits({name: wanted}, {name: kept}, self.source)
            return kept
        filters = len(self.tensors[f"{name.removesuffix(_SCALES)}.weight"])
        checkpoint.check_fits({name: wanted[:filters]}, {name: kept}, self.source)
        # Filters over groups of columns are all filters for the first pixel, then all for the next.
        return kept.repeat(len(wanted) // filters)

    def _check_ranges(self, graph_module: nn.Module) -> None:
        """Raise BadFileError unless every range is finite and holds zero, and scales of weights are finite."""
        for name, part in graph_module.named_modules():
            if isinstance(part, ActivationQuantizer):
                low, high = float(part.low), float(part.high)
                if not (low <= 0 <= high and isfinite(high - low)):
                    raise BadFileError(f"{self.source}: quantizer '{name}' goes from {low:g} to {high:g}; train again")
            elif isinstance(part, QuantizedConv2d | QuantizedLinear):
                scales = part.smallest_scales
                if not (scales.isfinite().all() and (scales >= 0).all()):
                    raise BadFileError(f"{self.source}: '{name}{_SCALES}' holds what is no scale; train again")


def _check_rewrites(trained: Trained) -> None:
    """Raise BadFileError unless rewrites and ranges of the header are such as ``train`` writes."""
    rewrites, ranges = (trained.header.quantization.get(name) for name in ("rewrites", "ranges"))
    if not isinstance(rewrites, list) or not all(isinstance(name, str) for name in rewrites):
        raise BadFileError(f"{trained.source}: rewrites must be a list of names, not {str(rewrites)[:40]}")
    if ranges not in (None, FOLLOWING, LEARNED):
        raise BadFileError(f"{trained.source}: ranges is {str(ranges)[:40]} (valid: {FOLLOWING}, {LEARNED})")
    try:
        passes.check_names(rewrites)
    except UnknownNameError as error:
        raise BadFileError(f"{trained.source}: {error}") from error


def _unpin(graph_module: nn.Module) -> None:
    """Let the scales of adapted weights follow them from now on: adaptive rounding pinned them, and on the grid that it
    left the largest weight of each channel asks for the same."""
    for part in graph_module.modules():
        if isinstance(part, QuantizedConv2d | QuantizedLinear) and part.weight_bits < BITS:
            part.smallest_scales.zero_()


def _lasting(rewrites: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in rewrites if name not in passes.MOVING)


def train(
    model: nn.Module,
    header: Header,
    data: DataSet,
    images: Iterable[np.ndarray],
    recipe: TrainRecipe,
    out: Path,
    *,
    rewrites: Iterable[str],
    quantized: Recipe = STATIC_W8A8,
    ranges: str = FOLLOWING,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
    command: str = "",
) -> Trained:
    """Train float ``model``, which has ``header``, for recipe ``quantized``, and write a run into the folder ``out``.

    ``images`` calibrate it first, as in ``ptq.calibrate``; ``rewrites`` are names of ``passes.PASSES``,
    those of the graph that will be exported; ``ranges`` is FOLLOWING or LEARNED. The rest, and what is raised, is as in
    ``edgecnn.train.train``.
    """
    chosen = passes.check_names(rewrites)
    quantization = {
        "recipe_name": quantized.name,
        "rewrites": list(chosen),
        "float_weights": checkpoint.digest(model),
        "ranges": ranges,
    }
    start = Header(
        header.model, header.arguments, data.name, data.classes, recipe.to_json(), quantization=quantization,
        normalization=header.normalization, command=command,
    )  # fmt: skip

    calibrating = list(images)

    def build() -> nn.Module:
        graph_module = ptq.calibrate(model, header.arguments, calibrating, _lasting(chosen), quantized)
        _unpin(graph_module)
        unfold_batchnorm(graph_module, (to_input(torch.from_numpy(batch)) for batch in calibrating))
        bring_back(graph_module, model, header.arguments)
        if ranges == LEARNED:
            learn_ranges(graph_module)
        return graph_module

    def before_epoch(state: State, epoch: int) -> None:
        set_mode(state.model, Mode.FOLLOW if epoch < FOLLOWED * recipe.epochs else Mode.FROZEN)

    def finish(result: nn.Module) -> nn.Module:
        return settle_ranges(fold_batchnorm_again(result))

    task = Task(start, build, before_epoch, finish, teacher=model)
    run(task, data, recipe, out, device=device, resume=resume, force=force)
    return Trained.load(out / WEIGHTS, model, header)
