"""Mixing of images with others of their batch; a loss has to know of it, since it learns two labels by their shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from edgecnn.data.augment import draw, rectangles
from edgecnn.errors import UsageError

LARGEST = 100.0  # Beta(100, 100) is 1/2 but for a few hundredths


@dataclass(frozen=True)
class Mixed:
    """A batch of which each image is mixed with another one.

    ``images`` are uint8 [n, height, width, channels], ``partner`` says with which image of the batch each is mixed,
    int64 [n], and ``share`` how much of it is still its own, float32 [n] from 0 to 1.
    """

    images: Tensor
    partner: Tensor
    share: Tensor


@dataclass(frozen=True)
class Mixing:
    """How the images of a batch are mixed: ``mixup`` blends two, ``cutmix`` puts a rectangle of one into the other.

    Each is the alpha of Beta(alpha, alpha), from which every image's share is drawn; 0 for none. Where both are given,
    each batch undergoes one of them, either with probability 1/2. Raises UsageError for what is no alpha.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, alpha in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if not 0 <= alpha <= LARGEST:
                raise UsageError(f"{name} is {alpha}, but must be the alpha of a Beta distribution: 0 to {LARGEST:.0f}")

    def __bool__(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, images: Tensor, generator: Generator) -> Mixed:
        """Mix uint8 [n, height, width, channels]; the same generator state gives the same images. Not for no mixing."""
        cut = self.cutmix > 0 and (self.mixup == 0 or bool(draw(1, 2, images, generator)))
        return cutmix(images, self.cutmix, generator) if cut else mixup(images, self.mixup, generator)


def mixup(images: Tensor, alpha: float, generator: Generator) -> Mixed:
    """Blend each image with its partner (H. Zhang et al., "mixup: beyond empirical risk minimization", 2017)."""
    partner, share = _partners(images, generator), _shares(images, alpha, generator)
    own = share[:, None, None, None]
    values = images.float()
    mixed = values.mul(own).add_(values.index_select(0, partner).mul_(1 - own))
    return Mixed(mixed.round_().to(torch.uint8), partner, share)


def cutmix(images: Tensor, alpha: float, generator: Generator) -> Mixed:
    """Put a rectangle of its partner into each image, in the same place (S. Yun et al., "CutMix", 2019).

    Its centre is anywhere, and what lies beyond the border does not count: ``share`` is of the pixels.
    """
    count, height, width, _ = images.shape
    partner, share = _partners(images, generator), _shares(images, alpha, generator)
    side = (1 - share).sqrt()  # in sides of the image
    tall, wide = (side * height).round().long(), (side * width).round().long()
    top = draw(count, height, images, generator) - tall // 2
    left = draw(count, width, images, generator) - wide // 2
    cut = rectangles(images, top, left, top + tall, left + wide)
    mixed = torch.where(cut, images.index_select(0, partner), images)
    return Mixed(mixed, partner, 1 - cut.sum((1, 2, 3)) / (height * width))


def _partners(images: Tensor, generator: Generator) -> Tensor:
    return torch.randperm(len(images), generator=generator, device=generator.device).to(images.device)


def _shares(images: Tensor, alpha: float, generator: Generator) -> Tensor:
    """float32 [n]. By NumPy, since PyTorch draws from no Beta distribution with a generator."""
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    shares = np.random.default_rng(seed).beta(alpha, alpha, len(images))
    return torch.from_numpy(shares.astype(np.float32)).to(images.device)
