"""From an artifact's raw output to scores and names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.runtime.preprocess import OutputSpec, prepare
from edgecnn.runtime.runner import Runner


def dequantize(output: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """Logits float32 [N, classes] from raw output [N, classes] of type ``spec.dtype``: (q - zero_point) * scale."""
    if spec.dtype == "float32":
        return output
    return (output.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)


def predict(runner: Runner, images: np.ndarray) -> np.ndarray:
    """Logits float32 [N, classes] of images uint8 [N, height, width, channels], of the size the runner takes.

    Raises UsageError for images of another size or type, BadFileError when the engine gives up.
    """
    return dequantize(runner.run(prepare(images, runner.input)), runner.output)


def top(logits: np.ndarray, labels: Sequence[str], k: int) -> list[tuple[str, float]]:
    """The ``k`` best (label, logit) of one image's logits [classes], best first; of equals, the earlier class."""
    order = np.argsort(-logits, kind="stable")[:k]
    return [(labels[index], float(logits[index])) for index in order]
