"""What runs an artifact: one protocol.

The real Runners are in litert.py, onnx.py and torchscript.py; fake.py holds one for tests; artifact.py opens any file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np

from edgecnn.runtime.preprocess import InputSpec, OutputSpec


class Runner(Protocol):
    """An opened artifact. ``engine`` names the engine and its version, ``classes`` is the width of the output."""

    path: Path
    format: str
    engine: str
    input: InputSpec
    output: OutputSpec
    classes: int

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Raw output [N, classes] of type ``output.dtype`` for the tensor [N, *input.shape] of ``input.dtype``.

        Raises BadFileError when the engine refuses the artifact.
        """

    def close(self) -> None:
        """Let go of the engine; the Runner cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
