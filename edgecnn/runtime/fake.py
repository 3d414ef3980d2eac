"""A Runner that needs no file and no engine, for tests of everything above it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgecnn.runtime.preprocess import InputSpec, OutputSpec
from edgecnn.runtime.runner import Runner


class FakeRunner(Runner):
    """Sees class ``p % classes`` in an image whose first pixel, first channel, is ``p``.

    ``mistakes`` maps a class to the one it is taken for. The logit of the class seen is 1, the others are 0.
    The input is float32 NHWC by the convention; ``runs`` counts the calls and ``closed`` says if it was closed.
    """

    format = "fake"
    engine = "fake 1"

    def __init__(
        self,
        classes: int = 10,
        image: tuple[int, int, int] = (32, 32, 3),
        mistakes: Mapping[int, int] | None = None,
    ) -> None:
        self.path = Path("fake")
        self.input = InputSpec(*image)
        self.output = OutputSpec()
        self.classes = classes
        self.runs = 0
        self.closed = False
        self._answers = np.arange(classes)
        for seen, answer in (mistakes or {}).items():
            self._answers[seen] = answer

    def run(self, tensor: np.ndarray) -> np.ndarray:
        self.runs += 1
        pixels = tensor[:, 0, 0, 0] * self.input.divisor + self.input.offset
        seen = np.rint(pixels).astype(np.int64) % self.classes
        return np.eye(self.classes, dtype=np.float32)[self._answers[seen]]

    def close(self) -> None:
        self.closed = True
