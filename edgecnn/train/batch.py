"""What one step learns from: augmented images, their labels, and where images are mixed what else is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from edgecnn.train.recipe import TrainRecipe


@dataclass(frozen=True)
class Batch:
    """``images`` uint8 [n, height, width, channels] and ``labels`` int64 [n].

    Where images are mixed, ``others``, int64 [n], are the labels of what was mixed in, and ``share``, float32 [n], says
    how much of each is still its own. ``advice`` are a teacher's logits [n, classes] where it was asked before.
    """

    images: Tensor
    labels: Tensor
    others: Tensor | None = None
    share: Tensor | None = None
    advice: Tensor | None = None

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """One batch of all; each has what the first has."""
        columns = {each.name: [getattr(batch, each.name) for batch in batches] for each in fields(cls)}
        return cls(**{name: torch.cat(tensors) for name, tensors in columns.items() if tensors[0] is not None})

    def at(self, chosen: Tensor) -> Batch:
        """The batch of the images at the indices ``chosen``, int64 [n]."""
        columns: dict[str, Tensor | None] = {each.name: getattr(self, each.name) for each in fields(self)}
        return Batch(**{name: each.index_select(0, chosen) for name, each in columns.items() if each is not None})

    def loss(self, logits: Tensor, smoothing: float) -> Tensor:
        """The mean cross-entropy of float32 logits [n, classes], to both labels of a mixed image by their shares."""
        if self.others is None or self.share is None:
            return cross_entropy(logits, self.labels, label_smoothing=smoothing)
        own, others = (
            cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
            for labels in (self.labels, self.others)
        )
        return torch.lerp(others, own, self.share).mean()

    def correct(self, logits: Tensor) -> Tensor:
        """How many images are put in their class, as a scalar; a mixed one counts by the share of what was found."""
        found = logits.argmax(1)
        own = found == self.labels
        if self.others is None or self.share is None:
            return own.sum()
        return torch.lerp((found == self.others).float(), own.float(), self.share).sum()


def make_batch(images: Tensor, labels: Tensor, recipe: TrainRecipe, generator: Generator) -> Batch:
    """Augment uint8 images [n, height, width, channels], and mix them, as ``recipe`` says."""
    images = recipe.augmentation(images, generator)
    if not recipe.mixing:
        return Batch(images, labels)
    mixed = recipe.mixing(images, generator)
    return Batch(mixed.images, labels, labels[mixed.partner], mixed.share)
