"""Images without any data set, made from what a trained model remembers of the images it was trained on.

Adam changes a batch of noise until the input of every BatchNorm has the mean and variance that are stored for it
(Y. Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", 2020; M. Haroush et al., "The Knowledge Within:
Methods for Data-Free Model Compression", 2020) and each image is of a class that it was given, as in the latter.
The classes fill the layers behind the last BatchNorm as real images do, whose ranges would come out far too small, and
are all there is to go by in a model without BatchNorm; ``benchmarks/synthetic.py`` measures what each brings.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edgecnn.errors import BadFileError
from edgecnn.models import ModelArguments
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET

LOW, HIGH = (0 - INPUT_OFFSET) / INPUT_DIVISOR, (255 - INPUT_OFFSET) / INPUT_DIVISOR
AT_ONCE = 64  # images that have the stored statistics together
STEPS = 60
RATE = 0.1
PULL = 4.0  # weight of the classes; a BatchNorm weighs 1
SURENESS = 4.0  # logits are divided by it: with 1 the pull ends long before they are as large as real images give

# The noise: amplitudes fall as 1 / frequency ** (0.5 to 1.5), which natural images do with 1; mostly grey.
SMOOTHNESS = (0.5, 1.5)
GREYNESS = 0.9
CONTRAST, LIGHT = 0.8, 0.5  # typical standard deviation and offset of an image, of the 2 that a pixel can be off grey


def synthesize(model: nn.Module, arguments: ModelArguments, count: int, seed: int, *, pull: float = PULL) -> np.ndarray:
    """Images uint8 [count, height, width, channels] for ``model``, the classes by turns.

    The same seed gives the same images on the same machine. Raises BadFileError when the model's output is not finite.
    """
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    distances: list[Tensor] = []
    for part in frozen.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None:
            part.register_forward_pre_hook(lambda norm, inputs: distances.append(_distance(norm, inputs[0])))
    labels = torch.arange(count) % arguments.num_classes
    made = []
    for images, label in zip(start(arguments, count, seed).split(AT_ONCE), labels.split(AT_ONCE), strict=True):
        images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        adam = torch.optim.Adam([images], lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
        for _ in range(STEPS):
            distances.clear()
            logits = frozen(images)
            loss = sum(distances, pull * F.cross_entropy(logits / SURENESS, label))
            if not torch.isfinite(loss):
                raise BadFileError("the output of the model is not finite: the weights are damaged; train again")
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            with torch.no_grad():
                images.clamp_(LOW, HIGH)
        made.append(images.detach())
    return to_pixels(torch.cat(made))


def start(arguments: ModelArguments, count: int, seed: int) -> Tensor:
    """Noise float32 [count, channels, height, width], as unlike each other in contrast and light as photographs."""
    generator = torch.Generator().manual_seed(seed)
    height, width = arguments.image_size
    low, high = SMOOTHNESS
    power = low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)
    colour = _normal(generator, count, arguments.in_channels, height, width)
    white = GREYNESS**0.5 * _normal(generator, count, 1, height, width) + (1 - GREYNESS) ** 0.5 * colour
    down, right = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    frequency = (down.square() + right.square()).sqrt().clamp_min(1 / max(height, width))
    noise = torch.fft.irfft2(torch.fft.rfft2(white) / frequency**power, s=(height, width))
    noise = noise / noise.std((1, 2, 3), keepdim=True)
    contrast = CONTRAST * (0.5 * _normal(generator, count, 1, 1, 1)).exp()
    return (noise * contrast + LIGHT * _normal(generator, count, 1, 1, 1)).clamp(LOW, HIGH)


def to_pixels(images: Tensor) -> np.ndarray:
    """The network's input float32 [n, channels, height, width] as uint8 [n, height, width, channels]."""
    pixels = (images * INPUT_DIVISOR + INPUT_OFFSET).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


def _distance(norm: nn.BatchNorm2d, values: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the values' normal distribution from the stored one, mean over the channels."""
    assert norm.running_mean is not None and norm.running_var is not None
    variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
    stored = norm.running_var + norm.eps
    ratio = (variance + norm.eps) / stored
    return ((mean - norm.running_mean).square() / stored + ratio - 1 - ratio.log()).mean() / 2
