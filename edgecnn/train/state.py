"""All that changes during training, so that saving it and bringing it back loses nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from edgecnn.checkpoint import fit
from edgecnn.errors import BadFileError
from edgecnn.train.optimize import make_optimizer, moving_average
from edgecnn.train.recipe import TrainRecipe


@dataclass
class State:
    """The live model, the running average of its weights, the optimizer, and how far training has come.

    ``epoch`` counts finished epochs, ``seconds`` what they took.
    """

    model: nn.Module
    average: AveragedModel
    optimizer: Optimizer
    epoch: int = 0
    seconds: float = 0.0

    @classmethod
    def start(cls, model: nn.Module, recipe: TrainRecipe) -> State:
        """The state before the first step."""
        average = AveragedModel(model, multi_avg_fn=moving_average(recipe.average), use_buffers=True)
        return cls(model, average, make_optimizer(model, recipe))

    @property
    def result(self) -> nn.Module:
        """The model with averaged weights: the one that is scored and kept."""
        return self.average.module

    def buffers(self) -> Iterator[Tensor]:
        """BatchNorm's statistics, which each process gathers from its own share of the images."""
        return chain(self.model.buffers(), self.average.buffers())

    def tensors(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, by name: model.*, average.*, optimizer.PARAMETER.*."""
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        found |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for parameter_name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{parameter_name}.{key}"] = value
        return found

    def restore(self, tensors: Mapping[str, Tensor], source: object) -> None:
        """The inverse of ``tensors``. Raises BadFileError, naming ``source``, for tensors of something else."""
        group: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind not in group:
                raise BadFileError(f"{source} is no checkpoint of an unfinished training: it has a tensor '{name}'")
            group[kind][rest] = tensor
        fit(self.model, group["model"], source)
        fit(self.average, group["average"], source)
        parameters = dict(self.model.named_parameters())
        for name, tensor in group["optimizer"].items():
            parameter_name, _, key = name.rpartition(".")
            if parameter_name not in parameters:
                raise BadFileError(f"{source} does not fit the model: the model has no parameter '{parameter_name}'")
            parameter, counter = parameters[parameter_name], key == "step"
            if tensor.shape != (() if counter else parameter.shape):
                raise BadFileError(f"{source} does not fit the model: '{name}' has another shape than its parameter")
            # AdamW keeps its step counter on the CPU.
            self.optimizer.state[parameter][key] = tensor if counter else tensor.to(parameter.device)
