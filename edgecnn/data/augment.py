"""Augmentation of whole uint8 batches on the device that trains.

Every function takes and gives uint8 [n, height, width, channels] on any torch device, draws all it needs from
one generator, and works on all images at once: an image-by-image loop in Python would starve the training step
(``benchmarks/augmentation.py`` measures the difference).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from edgecnn.errors import UsageError
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET

MOST_SHIFT = 256  # pixels
GREY = INPUT_OFFSET  # what padding and cutout fill with: exactly zero after normalization


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training batch, in this order: shift, flip, cut out.

    ``shift``: images move by up to this many pixels each way (a crop after padding). ``flip``: mirrored left to
    right, each with probability 1/2. ``cutout``: side of a grey square at a random centre, in pixels, 0 for none.
    """

    shift: int = 4
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0 or self.cutout < 0:
            raise UsageError(f"{self}: shift and cutout (pixels) cannot be negative")
        if self.shift > MOST_SHIFT:
            raise UsageError(f"shift is {self.shift}, but moves images by up to {MOST_SHIFT} pixels")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Augment uint8 [n, height, width, channels]; the same generator state gives the same images."""
        if self.shift:
            images = shift(images, self.shift, generator)
        if self.flip:
            images = flip(images, generator)
        if self.cutout:
            images = cutout(images, self.cutout, generator)
        return images


def draw(count: int, high: int, like: Tensor, generator: Generator) -> Tensor:
    """int64 [count] in 0..high-1. Drawn on the generator's device so that every device sees the same numbers."""
    return torch.randint(high, (count,), generator=generator, device=generator.device).to(like.device)


def shift(images: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Move each image by up to ``pixels`` in both directions, filling with grey.

    Each row of the result is a piece of the padded images, and all pieces are copied by one gather.
    """
    count, height, width, channels = images.shape
    padded_height, padded_width = height + 2 * pixels, width + 2 * pixels
    padded = images.new_full((count, padded_height, padded_width, channels), GREY)
    padded[:, pixels : pixels + height, pixels : pixels + width] = images
    # pieces[p] is the row that starts at pixel p, counted through all padded images; the pieces overlap.
    row = width * channels
    pieces = padded.view(-1).as_strided(((padded.numel() - row) // channels + 1, row), (channels, 1))
    top = draw(count, 2 * pixels + 1, images, generator)
    left = draw(count, 2 * pixels + 1, images, generator)
    corner = (torch.arange(count, device=images.device) * padded_height + top) * padded_width + left
    starts = corner[:, None] + torch.arange(height, device=images.device) * padded_width
    return pieces.index_select(0, starts.flatten()).view(images.shape)


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror half of the images, chosen at random, left to right."""
    chosen = draw(len(images), 2, images, generator).nonzero()[:, 0]
    return images.index_copy(0, chosen, images.index_select(0, chosen).flip(2))


def cutout(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Grey out a square of ``side`` pixels around a random centre, clipped at the border (DeVries & Taylor 2017)."""
    count, height, width, _ = images.shape
    top = draw(count, height, images, generator) - side // 2
    left = draw(count, width, images, generator) - side // 2
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    hidden_y = (y >= top[:, None]) & (y < top[:, None] + side)
    hidden_x = (x >= left[:, None]) & (x < left[:, None] + side)
    return images.masked_fill(hidden_y[:, :, None, None] & hidden_x[:, None, :, None], GREY)


def to_input(images: Tensor) -> Tensor:
    """uint8 [n, height, width, channels] to the network's float32 [n, channels, height, width], (u8 - 128) / 64.

    The result lies in channels_last memory, which is what the images had.
    """
    return images.to(torch.float32).sub_(INPUT_OFFSET).div_(INPUT_DIVISOR).permute(0, 3, 1, 2)
