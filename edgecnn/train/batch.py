"""What one step learns from: augmented images, their labels, and where images are mixed what else is in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from edgecnn.train.recipe import TrainRecipe


@dataclass(frozen=True)
class Batch:
    """``images`` uint8 [n, height, width, channels] and ``labels`` int64 [n].

    Where images are mixed, ``partner``, int64 [n], says with which of the batch each is, and ``share``, float32 [n],
    how much of it is still its own.
    """

    images: Tensor
    labels: Tensor
    partner: Tensor | None = None
    share: Tensor | None = None

    def loss(self, logits: Tensor, smoothing: float) -> Tensor:
        """The mean cross-entropy of float32 logits [n, classes], to both labels of a mixed image by their shares."""
        if self.partner is None or self.share is None:
            return cross_entropy(logits, self.labels, label_smoothing=smoothing)
        own, others = (
            cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
            for labels in (self.labels, self.labels[self.partner])
        )
        return torch.lerp(others, own, self.share).mean()

    def correct(self, logits: Tensor) -> Tensor:
        """How many images are put in their class, as a scalar; a mixed one counts by the share of what was found."""
        found = logits.argmax(1)
        own = found == self.labels
        if self.partner is None or self.share is None:
            return own.sum()
        return torch.lerp((found == self.labels[self.partner]).float(), own.float(), self.share).sum()


def make_batch(images: Tensor, labels: Tensor, recipe: TrainRecipe, generator: Generator) -> Batch:
    """Augment uint8 images [n, height, width, channels], and mix them, as ``recipe`` says."""
    images = recipe.augmentation(images, generator)
    if not recipe.mixing:
        return Batch(images, labels)
    mixed = recipe.mixing(images, generator)
    return Batch(mixed.images, labels, mixed.partner, mixed.share)
