"""What runs an artifact: one protocol.

The real Runners are in files named after their engines, which engines.py lists; fake.py holds one for tests;
artifact.py opens any file.
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

    def idle(self) -> Runner | None:
        """A Runner of the same file without its operations, which takes what a call costs before anything is computed.

        It does as many images at once as were last run, and its output means nothing. None where a format has no such.
        """
        return None

    def close(self) -> None:
        """Let go of the engine; the Runner cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
