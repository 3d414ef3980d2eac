"""Runs .pte files in ExecuTorch, on the CPU, in whatever kernels the file was lowered to.

One of the packages that it needs comes without a wheel, so it is in no extra of edgecnn: who has a .pte file installs
it by hand, beside torch.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.manifest import Artifact, Image
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET, InputSpec, OutputSpec
from edgecnn.runtime.runner import Runner

FLOAT = 6  # of torch's scalar types


class ExecuTorchRunner(Runner):
    """A .pte classifier: ``forward`` takes float32 images [batch, channels, height, width] to logits [batch, classes].

    The first size of its input is the most images that it takes at once, and more are run in pieces; a file that
    takes no less is refused. Raises BadFileError, and UsageError when ExecuTorch is not installed.
    """

    format = "pte"

    def __init__(self, path: Path, entry: Artifact | None, image: Image | None, threads: int) -> None:
        try:
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime, Verification
        except ImportError as error:
            raise UsageError(
                f"running a .pte file needs ExecuTorch, which cannot be imported ({error}); "
                "run: pip install executorch (beside torch 2.14)"
            ) from error
        self.path = path
        self.engine = f"executorch {version('executorch')}"
        portable_lib._unsafe_reset_threadpool(threads)  # of the process; no other Runner may be at work
        try:
            self._program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
            method = self._program.load_method("forward") if "forward" in self._program.method_names else None
        except RuntimeError as error:
            raise self._broken(error) from error
        if method is None:
            raise BadFileError(f"{path} is no image classifier: it has no method 'forward'")
        self._method = method
        known = method.metadata
        if (known.num_inputs(), known.num_outputs()) != (1, 1):
            raise BadFileError(f"{path} is no image classifier: it needs one input and one output")
        tensors = (known.input_tensor_meta(0), known.output_tensor_meta(0))
        if any(tensor.dtype() != FLOAT for tensor in tensors):
            raise BadFileError(f"{path} takes or gives another type than float32; export it with float32 for both")
        shape, logits = (tuple(tensor.sizes()) for tensor in tensors)
        if len(shape) != 4 or len(logits) != 2:
            raise BadFileError(f"{path} is no image classifier: it maps {list(shape)} to {list(logits)}")
        self._most, channels, height, width = shape
        self.classes = logits[1]
        offset, divisor = (INPUT_OFFSET, INPUT_DIVISOR) if image is None else (image.offset, image.divisor)
        try:
            self.input = InputSpec(height, width, channels, "NCHW", offset=offset, divisor=divisor)
        except UsageError as error:
            raise BadFileError(f"{path}: {error}") from error
        self.output = OutputSpec()
        self.run(np.zeros((1, *self.input.shape), np.float32))

    def run(self, tensor: np.ndarray) -> np.ndarray:
        starts = range(0, len(tensor), self._most)
        return np.concatenate([self._run(tensor[start : start + self._most]) for start in starts])

    def close(self) -> None:
        del self._method, self._program

    def _run(self, tensor: np.ndarray) -> np.ndarray:
        import torch

        try:
            (result,) = self._method.execute([torch.from_numpy(tensor)])
        except RuntimeError as error:
            raise self._broken(error) from error
        return np.asarray(result.numpy())

    def _broken(self, error: Exception) -> BadFileError:
        reason = " ".join(str(error).split())
        return BadFileError(f"{self.path} cannot be run: {reason}; it is truncated, damaged or not for this engine")
