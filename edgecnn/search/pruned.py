"""Candidates that are pruned: what one will be like, told before it is trained, and the cut after that."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.data.dataset import DataSet
from edgecnn.models import ModelArguments
from edgecnn.prune import importance, plan, search
from edgecnn.prune.groups import Channels
from edgecnn.prune.iterate import Pruning, prune, settings
from edgecnn.prune.target import MACS, Target
from edgecnn.train import WEIGHTS, TrainRecipe

SHARE = 3  # one epoch in so many comes after the cut


def epochs_after(epochs: int) -> int:
    """How many of a trial's ``epochs``, 2 or more, are left for when it was cut."""
    return max(1, epochs // SHARE)


def foretold(network: nn.Module, arguments: ModelArguments, data: DataSet, kept: float) -> nn.Module:
    """A fresh ``network`` pruned to a share of its multiply-accumulates.

    Trained weights will find other channels to be the least, and other layers to be too wide, but no other share.
    Raises UsageError for a share that cannot be met.
    """
    channels = Channels(network, arguments)
    scores = importance.scores(channels, importance.L2, data.train)
    shape = plan.shape_of(network, arguments, channels.groups)
    path = plan.Path.of(shape, scores, MACS, plan.MULTIPLE)
    found = search.find(path, Target(MACS, kept), 1, lambda sizes: network, None, lambda line: None)
    return channels.cut(found.steps[-1], scores).eval()


def pruned(
    network: nn.Module, header: Header, data: DataSet, kept: float, recipe: TrainRecipe, folder: Path, device: str
) -> tuple[nn.Module, Header]:
    """A trained ``network``, which ``recipe`` is of, cut at once and trained on for the epochs that are left for it.

    What it does is what 'edgecnn prune --target macs:KEPT' does, in one step. Raises the errors of ``prune``.
    """
    after = settings(
        header, mirrorable=data.mirrorable, epochs=epochs_after(recipe.epochs), batch_size=recipe.batch_size,
        validation=recipe.validation, precision=recipe.precision, compile=recipe.compile, seed=recipe.seed,
    )  # fmt: skip
    prune(
        network, header, data, Pruning(Target(MACS, kept), steps=1), after, folder, measure=None,
        say=lambda line: None, device=device, silent=True,
    )  # fmt: skip
    return checkpoint.load_model(folder / WEIGHTS, header.model)
