"""One trial: priced, trained unless it costs too much, scored as its int8 file would on held-out training images."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.study import Study
from optuna.trial import TrialState
from torch import nn

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header
from edgecnn.data.dataset import DataSet, Memory, hold_out
from edgecnn.errors import CheckFailedError, OutputError, UsageError
from edgecnn.evaluate import score_model
from edgecnn.export.drafts import rewrites_of, simulation
from edgecnn.export.source import Source
from edgecnn.export.weigh import ORDER
from edgecnn.models import ModelArguments
from edgecnn.search.asked import Asked
from edgecnn.search.halving import rungs, stops
from edgecnn.search.objectives import COSTS, Point, point
from edgecnn.search.prices import Prices
from edgecnn.search.pruned import epochs_after, foretold, pruned
from edgecnn.search.space import Candidate
from edgecnn.train import WEIGHTS, Task, choose_device, run

CALIBRATION_IMAGES = 512  # as quantize has it
# A trial's attributes, besides its costs by their names.
DESIGN, KEPT, RECIPE, END, WHY, FLOAT = "design", "kept", "recipe", "end", "why", "float_accuracy"
# How a trial without values ended.
STOPPED, DEAR, FAILED = "stopped", "dear", "failed"
SURPLUS = "surplus"  # how a trial ended that was one too many


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with a value for each objective, or STOPPED, DEAR or FAILED, and why."""

    values: tuple[float, ...] | None
    end: str = ""
    why: str = ""


class EndedError(Exception):
    """A trial was ended, STOPPED at a rung or too DEAR."""

    def __init__(self, end: str, why: str) -> None:
        super().__init__(why)
        self.end = end


class Tryout:
    """Tries what the trials of a study draw. No test image is read: it gets the training images alone."""

    def __init__(self, asked: Asked, data: DataSet, prices: Prices, folder: Path, device: str = "auto") -> None:
        self._asked, self._prices, self._folder, self._device = asked, prices, folder, device
        nothing = Memory(np.zeros((0, *data.image), np.uint8), np.zeros(0, np.int64))
        self._data = replace(data, test=nothing)
        fitted, self._judges = hold_out(data.train, asked.validation)
        self._calibrating = replace(self._data, train=fitted)
        height, width, channels = data.image
        self._arguments = ModelArguments(len(data.classes), channels, (height, width))

    def __call__(self, study: Study, trial: optuna.Trial) -> Outcome:
        """Try it, and write down on the trial what it is, what it costs and what came of it.

        Raises TargetError and OutputError, which are no trial's fault.
        """
        candidate = Candidate.draw(trial)
        trial.set_user_attr(DESIGN, str(candidate.design))
        trial.set_user_attr(KEPT, candidate.kept)
        trial.set_user_attr(RECIPE, dict(candidate.recipe))
        try:
            network = self._prices.fresh(candidate.design)
            if candidate.kept < 1:
                network = foretold(network, self._arguments, self._data, candidate.kept)
            costs = self._priced(trial, network)
            with tempfile.TemporaryDirectory(prefix="trial-", dir=self._folder) as folder:
                network, header = self._trained(study, trial, candidate, costs, Path(folder))
                if candidate.kept < 1:
                    recipe = self._asked.training(candidate.recipe, self._data.mirrorable)
                    network, header = pruned(
                        network, header, self._data, candidate.kept, recipe, Path(folder) / "pruned", self._device
                    )
                    costs = self._priced(trial, network)
            trial.set_user_attr(FLOAT, header.metrics["validation_accuracy"])
            return Outcome((self._quantized_accuracy(network, header), *self._costs(costs)))
        except EndedError as ended:
            return Outcome(None, ended.end, str(ended))
        except OutputError:
            raise
        except (UsageError, CheckFailedError) as error:  # a loss that is not finite, a file that cannot be timed
            return Outcome(None, FAILED, str(error))

    def _priced(self, trial: optuna.Trial, network: nn.Module) -> dict[str, float]:
        """All costs. Raises EndedError for one above its bound."""
        costs: dict[str, float] = {}
        for name, value in self._prices.of(network):
            costs[name] = value
            trial.set_user_attr(name, value)
            most = self._asked.bounds.get(name, math.inf)
            if most < math.inf and name not in trial.constraints:
                trial.set_constraint(name, value / most - 1)
            if value > most:
                raise EndedError(DEAR, f"{name} {value:,.4g} is more than {most:,.4g}")
        return costs

    def _costs(self, costs: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(costs[name] for name in COSTS if name in self._asked.objectives)

    def _trained(
        self, study: Study, trial: optuna.Trial, candidate: Candidate, costs: Mapping[str, float], folder: Path
    ) -> tuple[nn.Module, Header]:
        """The network as it is before any cut. Raises EndedError."""
        looks, design = rungs(self._asked.epochs), str(candidate.design)
        recipe = self._asked.training(candidate.recipe, self._data.mirrorable)
        if candidate.kept < 1:
            recipe = replace(recipe, epochs=recipe.epochs - epochs_after(recipe.epochs))
        header = Header(design, self._arguments, self._data.name, self._data.classes, recipe.to_json())

        def look(row: Mapping[str, float]) -> None:
            epoch, accuracy = int(row["epoch"]), row["validation_accuracy"]
            trial.set_user_attr(FLOAT, accuracy)
            if epoch in looks:
                own = point(accuracy, self._costs(costs))
                others = _at(study, epoch, candidate.kept)
                trial.set_user_attr(_rung(epoch), list(own))
                if stops(own, others):
                    why = f"stopped after {epoch} of {self._asked.epochs} epochs: {accuracy:.2%} for its costs"
                    raise EndedError(STOPPED, why)

        task = Task(header, lambda: models.create(design, self._arguments), after_epoch=look, silent=True)
        if recipe.compile:
            torch.compiler.reset()  # it counts every network's layers, and after some stops compiling
        run(task, self._data, recipe, folder, device=self._device, resume=False, force=True)
        return checkpoint.load_model(folder / WEIGHTS, design)

    def _quantized_accuracy(self, network: nn.Module, header: Header) -> float:
        """On the held-out images."""
        device = choose_device(self._device)
        source = Source(network, header, self._calibrating, CALIBRATION_IMAGES)
        graph = simulation(source, rewrites_of(ORDER, source), ORDER.recipe).to(device)
        return score_model(graph, self._judges, device).accuracy


def _rung(epoch: int) -> str:
    return f"rung {epoch}"


def _at(study: Study, epoch: int, kept: float) -> list[Point]:
    """What the trials had that came by at a rung; those that were lost are tried again and do not count.

    Only those of which the same share is ``kept``: their costs are those of what a cut will leave, and their accuracies
    those of whole networks, on a shorter schedule.
    """
    trials = study.get_trials(deepcopy=False)
    return [
        tuple(each.user_attrs[_rung(epoch)])
        for each in trials
        if _rung(epoch) in each.user_attrs and each.user_attrs[KEPT] == kept and each.state != TrialState.FAIL
    ]
