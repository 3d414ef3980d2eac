"""Which channels a network can best do without.

    l1       sum of the absolute values of all weights of a channel (H. Li et al., "Pruning Filters for Efficient
             ConvNets", 2017), in all layers that it runs through but depthwise ones, of which torch-pruning takes none
    l2       sum of their squares
    taylor   how far the loss moves without them, to first order: |weight x gradient| on training images
             (P. Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019)

LAMP (J. Lee et al., 2021) is no criterion of its own here: what it adds, a scale on which layers can be compared, is
what ``plan`` does with any of these.
"""

from __future__ import annotations

import torch
import torch_pruning as tp
from torch import Tensor
from torch.nn.functional import cross_entropy

from edgecnn.data.augment import to_input
from edgecnn.data.dataset import Split, batches
from edgecnn.errors import UnknownNameError
from edgecnn.models.strided import right_gradients
from edgecnn.prune.groups import Channels

L1, L2, TAYLOR = "l1", "l2", "taylor"
CRITERIA = (L1, L2, TAYLOR)
TAYLOR_IMAGES = 1024
TAYLOR_BATCH = 256


def check(name: str) -> None:
    """Raise UnknownNameError for a name of no criterion."""
    if name not in CRITERIA:
        raise UnknownNameError("importance", name, CRITERIA)


def scores(channels: Channels, criterion: str, images: Split) -> dict[str, Tensor]:
    """The importance of every channel, float32 [channels], by group; ``images`` are training images."""
    if criterion != TAYLOR:
        return channels.scores(tp.importance.GroupMagnitudeImportance(p=1 if criterion == L1 else 2, normalizer=None))
    channels.model.zero_grad()
    with torch.enable_grad(), right_gradients(channels.model):
        for pixels, labels in batches(images, TAYLOR_BATCH, TAYLOR_IMAGES):
            logits = channels.model(to_input(torch.from_numpy(pixels)))
            cross_entropy(logits, torch.from_numpy(labels), reduction="sum").backward()
    found = channels.scores(tp.importance.GroupTaylorImportance(normalizer=None))
    channels.model.zero_grad()
    return found
