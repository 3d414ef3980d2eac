"""Changes of colour and shape, chosen at random for each image and done to whole batches of uint8.

After E. D. Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search space" (2019), with
the operations of theirs that come cheap on a batch. As in S. G. Müller and F. Hutter, "TrivialAugment" (2021), each
image has a strength of its own, so that there is none to be tuned.

Every operation takes uint8 [n, height, width, channels] of 1 to 4 channels and a strength, float32 [n] from -1 to 1,
and gives images of the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from edgecnn.runtime.preprocess import INPUT_OFFSET

# What a strength of 1 does.
BLEND = 0.7  # an image is 1.7 times, or 0.3 times, as far from black, its mean or its grey version
LOST_BITS = 4.0
INVERTED = 128.0  # how many of the 256 levels are inverted, the brightest first
ANGLE = math.radians(30.0)
SHEAR = 0.3  # pixels sideways for each pixel down


def operate(images: Tensor, count: int, generator: Generator) -> Tensor:
    """Do ``count`` operations to each image, one after the other, each image its own; nothing is one of them."""
    images = images.clone()
    place, drawn_on = images.device, generator.device
    for _ in range(count):
        kinds = torch.randint(len(OPERATIONS) + 1, (len(images),), generator=generator, device=drawn_on)
        strengths = torch.rand(len(images), generator=generator, device=drawn_on).mul_(2).sub_(1).to(place)
        for kind, operation in enumerate(OPERATIONS):
            chosen = (kinds == kind).nonzero()[:, 0].to(place)
            if len(chosen):
                changed = operation(images.index_select(0, chosen), strengths.index_select(0, chosen))
                images.index_copy_(0, chosen, changed)
    return images


def brightness(images: Tensor, strength: Tensor) -> Tensor:
    """Nearer to black or further from it."""
    return _pixels(images.float().mul_(_factor(strength)))


def contrast(images: Tensor, strength: Tensor) -> Tensor:
    """Nearer to the mean of the whole image or further from it."""
    values = images.float()
    return _blend(values, values.mean((1, 2, 3), keepdim=True), strength)


def saturation(images: Tensor, strength: Tensor) -> Tensor:
    """Nearer to the mean of the channels or further from it; an image of one channel stays as it is."""
    values = images.float()
    return _blend(values, values.mean(3, keepdim=True), strength)


def _factor(strength: Tensor) -> Tensor:
    return 1 + BLEND * strength[:, None, None, None]


def _blend(values: Tensor, origin: Tensor, strength: Tensor) -> Tensor:
    # In place here and below: fresh memory for every step takes several times as long as the arithmetic.
    factor = _factor(strength)
    return _pixels(values.mul_(factor).add_(origin.mul_(1 - factor)))


def posterize(images: Tensor, strength: Tensor) -> Tensor:
    """Clear up to 4 of the lowest bits."""
    lost = (strength.abs() * LOST_BITS).ceil().to(torch.uint8)[:, None, None, None]
    return (images >> lost) << lost


def solarize(images: Tensor, strength: Tensor) -> Tensor:
    """Invert what is bright: up to the upper half of the levels."""
    threshold = (255 - strength.abs() * INVERTED).to(torch.uint8)[:, None, None, None]
    return torch.where(images > threshold, 255 - images, images)


def rotate(images: Tensor, strength: Tensor) -> Tensor:
    """Turn about the centre."""
    _, height, width, _ = images.shape
    sine, cosine = (ANGLE * strength).sin(), (ANGLE * strength).cos()
    # Positions run from -1 to 1 in both directions, however long the sides are.
    return _sample(images, cosine, -sine * height / width, sine * width / height, cosine)


def shear_rows(images: Tensor, strength: Tensor) -> Tensor:
    """Move rows left and right, the further from the middle the more."""
    _, height, width, _ = images.shape
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    return _sample(images, one, SHEAR * strength * height / width, none, one)


def shear_columns(images: Tensor, strength: Tensor) -> Tensor:
    """Move columns up and down, the further from the middle the more."""
    _, height, width, _ = images.shape
    one, none = torch.ones_like(strength), torch.zeros_like(strength)
    return _sample(images, one, none, SHEAR * strength * width / height, one)


def _sample(images: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    """Pixel (x, y) of the result is that at (xx x + xy y, yx x + yy y), bilinear, and grey from beyond the border."""
    none = torch.zeros_like(xx)
    matrix = torch.stack([xx, xy, none, yx, yy, none], 1).view(-1, 2, 3)
    count, height, width, channels = images.shape
    grid = F.affine_grid(matrix, [count, channels, height, width], align_corners=False)
    values = images.permute(0, 3, 1, 2).float().sub_(INPUT_OFFSET)
    found = F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return _pixels(found.permute(0, 2, 3, 1).add_(INPUT_OFFSET))


def _pixels(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255).to(torch.uint8)


Operation = Callable[[Tensor, Tensor], Tensor]
OPERATIONS: tuple[Operation, ...] = (
    brightness, contrast, saturation, posterize, solarize, rotate, shear_rows, shear_columns,
)  # fmt: skip
