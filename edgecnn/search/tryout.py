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
from torch import fx, nn

from edgecnn import models
from edgecnn.checkpoint import Header
from edgecnn.data.dataset import DataSet, Memory, hold_out
from edgecnn.errors import CheckFailedError, OutputError, UsageError
from edgecnn.export.drafts import rewrites_of, simulation
from edgecnn.export.source import VALIDATION_SEED, Source
from edgecnn.export.weigh import ORDER
from edgecnn.models import ModelArguments
from edgecnn.search.asked import Asked
from edgecnn.search.halving import rungs, stops
from edgecnn.search.objectives import COSTS, Point, point
from edgecnn.search.prices import Prices
from edgecnn.search.space import Candidate
from edgecnn.train import Task, choose_device, run

CALIBRATION_IMAGES = 512  # as quantize has it
# A trial's attributes, besides its costs by their names.
DESIGN, RECIPE, END, WHY, FLOAT = "design", "recipe", "end", "why", "float_accuracy"
# How a trial without values ended.
STOPPED, DEAR, FAILED = "stopped", "dear", "failed"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with a value for each objective, or STOPPED, DEAR or FAILED, and why."""

    values: tuple[float, ...] | None
    end: str = ""
    why: str = ""


class StoppedError(Exception):
    """Training was ended at a rung."""


class Tryout:
    """Tries what the trials of a study draw. No test image is read: it gets the training images alone."""

    def __init__(self, asked: Asked, data: DataSet, prices: Prices, folder: Path, device: str = "auto") -> None:
        self._asked, self._prices, self._folder, self._device = asked, prices, folder, device
        nothing = Memory(np.zeros((0, *data.image), np.uint8), np.zeros(0, np.int64))
        self._data = replace(data, test=nothing)
        fitted, _ = hold_out(data.train, asked.validation, VALIDATION_SEED)
        self._calibrating = replace(self._data, train=fitted)

    def __call__(self, study: Study, trial: optuna.Trial) -> Outcome:
        """Try it, and write down on the trial what it is, what it costs and what came of it."""
        candidate = Candidate.draw(trial)
        trial.set_user_attr(DESIGN, str(candidate.design))
        trial.set_user_attr(RECIPE, dict(candidate.recipe))
        costs: dict[str, float] = {}
        try:
            for name, value in self._prices.of(candidate.design):
                costs[name] = value
                trial.set_user_attr(name, value)
                most = self._asked.bounds.get(name, math.inf)
                if most < math.inf:
                    trial.set_constraint(name, value / most - 1)
                if value > most:
                    return Outcome(None, DEAR, f"{name} {value:,.4g} is more than {most:,.4g}")
            accuracy = self._trained(study, trial, candidate, costs)
        except StoppedError as stopped:
            return Outcome(None, STOPPED, str(stopped))
        except OutputError:
            raise
        except (UsageError, CheckFailedError) as error:  # a loss that is not finite, a file that cannot be timed
            return Outcome(None, FAILED, str(error))
        return Outcome((accuracy, *self._costs(costs)))

    def _costs(self, costs: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(costs[name] for name in COSTS if name in self._asked.objectives)

    def _trained(self, study: Study, trial: optuna.Trial, candidate: Candidate, costs: Mapping[str, float]) -> float:
        """Accuracy on the held-out images, quantized. Raises StoppedError."""
        data, looks = self._data, rungs(self._asked.epochs)
        height, width, channels = data.image
        arguments = ModelArguments(len(data.classes), channels, (height, width))
        recipe = self._asked.training(candidate.recipe, data.mirrorable)
        header = Header(str(candidate.design), arguments, data.name, data.classes, recipe.to_json())

        def look(row: Mapping[str, float]) -> None:
            epoch, accuracy = int(row["epoch"]), row["validation_accuracy"]
            trial.set_user_attr(FLOAT, accuracy)
            if epoch in looks:
                own = point(accuracy, self._costs(costs))
                others = _at(study, epoch)
                trial.set_user_attr(_rung(epoch), list(own))
                if stops(own, others):
                    raise StoppedError(f"stopped after {epoch} of {recipe.epochs} epochs: {accuracy:.2%} for its costs")

        def quantized(model: nn.Module) -> fx.GraphModule:
            network = models.create(header.model, arguments).eval()
            network.load_state_dict(model.state_dict())
            source = Source(network, header, self._calibrating, CALIBRATION_IMAGES)
            return simulation(source, rewrites_of(ORDER, source), ORDER.recipe).to(choose_device(self._device))

        task = Task(header, lambda: models.create(header.model, arguments), after_epoch=look, finish=quantized,
                    silent=True)  # fmt: skip
        if recipe.compile:
            torch.compiler.reset()  # it counts every network's layers, and after some stops compiling
        with tempfile.TemporaryDirectory(prefix="trial-", dir=self._folder) as folder:
            done = run(task, data, recipe, Path(folder), device=self._device, resume=False, force=True)
        return done.metrics["validation_accuracy"]


def _rung(epoch: int) -> str:
    return f"rung {epoch}"


def _at(study: Study, epoch: int) -> list[Point]:
    """What the trials that came by at a rung had there; those that were lost are tried again and do not count."""
    trials = study.get_trials(deepcopy=False)
    return [
        tuple(each.user_attrs[_rung(epoch)])
        for each in trials
        if _rung(epoch) in each.user_attrs and each.state != TrialState.FAIL
    ]
