"""From an artifact's raw output to scores and names, and from an image to an answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from edgecnn.errors import BadFileError
from edgecnn.runtime import picture
from edgecnn.runtime.preprocess import OutputSpec, prepare
from edgecnn.runtime.runner import Runner


@dataclass(frozen=True)
class Guess:
    """A class, the artifact's logit for it, and its share of the softmax over all classes (no calibrated chance)."""

    label: str
    logit: float
    probability: float


@dataclass(frozen=True)
class Answer:
    """The best classes of an image, best first, and the milliseconds that each part took.

    ``decode`` is from the file to upright 8-bit pixels, ``preprocess`` from there to the artifact's input tensor, and
    ``run`` from that to logits.
    """

    best: tuple[Guess, ...]
    decode: float
    preprocess: float
    run: float


def classify(runner: Runner, labels: Sequence[str], source: picture.Source, k: int) -> Answer:
    """The ``k`` best of ``labels`` for the picture in ``source``, a file or the bytes of one.

    Raises BadPictureError for a file that cannot be read, BadFileError when the engine gives up or gives no numbers.
    """
    start = time.perf_counter()
    with picture.quiet():
        loaded = picture.load(source, transparent=runner.input.channels in picture.TRANSPARENT)
    return classify_picture(runner, labels, loaded, k, 1000 * (time.perf_counter() - start))


def classify_picture(runner: Runner, labels: Sequence[str], loaded: Image, k: int, decode: float) -> Answer:
    """The ``k`` best of ``labels`` for a picture of any size, as picture.load gives it, or RGB from a camera.

    ``decode`` is the milliseconds it took to get it. Raises BadFileError when the engine gives up or gives no numbers.
    """
    start = time.perf_counter()
    tensor = prepare(picture.fit(loaded, runner.input.image)[None], runner.input)
    prepared = time.perf_counter()
    logits = dequantize(runner.run(tensor), runner.output)[0]
    end = time.perf_counter()
    if not np.isfinite(logits).all():
        raise BadFileError(f"{runner.path} gave scores that are no finite numbers; make the bundle again")
    shares = probabilities(logits)
    best = tuple(Guess(labels[index], float(logits[index]), float(shares[index])) for index in _best(logits, k))
    return Answer(best, decode, 1000 * (prepared - start), 1000 * (end - prepared))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax, float64 [classes], of one image's logits [classes]."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


def dequantize(output: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """Logits float32 [N, classes] from raw output [N, classes] of type ``spec.dtype``: (q - zero_point) * scale."""
    if spec.dtype == "float32":
        return output
    zero_point, scale = spec.line
    return (output.astype(np.float32) - zero_point) * scale


def predict(runner: Runner, images: np.ndarray) -> np.ndarray:
    """Logits float32 [N, classes] of images uint8 [N, height, width, channels], of the size the runner takes.

    Raises UsageError for images of another size or type, BadFileError when the engine gives up.
    """
    return dequantize(runner.run(prepare(images, runner.input)), runner.output)


def top(logits: np.ndarray, labels: Sequence[str], k: int) -> list[tuple[str, float]]:
    """The ``k`` best (label, logit) of one image's logits [classes], best first; of equals, the earlier class."""
    return [(labels[index], float(logits[index])) for index in _best(logits, k)]


def _best(logits: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-logits, kind="stable")[:k]
