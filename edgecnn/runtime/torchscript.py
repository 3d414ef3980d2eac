"""Runs TorchScript files in PyTorch, on the CPU; torch is imported only here, and only when such a file is opened.

TorchScript holds a program, not only weights: open files from people you trust.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, MissingExtraError, UsageError
from edgecnn.runtime.manifest import Artifact, Image
from edgecnn.runtime.preprocess import InputSpec, OutputSpec
from edgecnn.runtime.runner import Runner


class TorchScriptRunner(Runner):
    """A TorchScript classifier: float32 images [batch, channels, height, width] to float32 logits [batch, classes].

    The file records none of that, so ``image`` must be given. A quantized module needs the engine that it was
    prepared for, ``entry.engine``. Raises BadFileError, MissingExtraError, UsageError for an engine not in this torch.
    """

    format = "torchscript"

    def __init__(self, path: Path, entry: Artifact | None, image: Image | None, threads: int) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError("running a TorchScript file", "torch", "train") from error
        if image is None:
            raise BadFileError(f"{path}: a TorchScript file does not record its input; use it from inside its bundle")
        if not zipfile.is_zipfile(path):
            raise BadFileError(f"{path} is not a TorchScript file (no zip archive); it is truncated or foreign")
        self.path = path
        self.engine = f"torch {torch.__version__}"
        self.input = InputSpec(
            image.height, image.width, image.channels, "NCHW", offset=image.offset, divisor=image.divisor
        )
        self.output = OutputSpec()
        self._threads = threads
        self._quantized_engine = None if entry is None else entry.engine
        engines = torch.backends.quantized.supported_engines
        if self._quantized_engine is not None:
            if self._quantized_engine not in engines:
                raise UsageError(
                    f"{path} needs the quantized engine '{self._quantized_engine}', which this torch lacks "
                    f"(it has: {', '.join(engines)}); export it again with one of these"
                )
            self.engine += f" {self._quantized_engine}"
        with self._settings(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces the retirement of TorchScript at every load
            try:
                self._module = torch.jit.load(str(path), map_location="cpu").eval()
            except RuntimeError as error:
                raise self._broken(error) from error
        trial = self.run(np.zeros((1, *self.input.shape), np.float32))
        if trial.ndim != 2 or len(trial) != 1 or trial.dtype != np.float32:
            raise BadFileError(
                f"{path} is no image classifier: for one image it gave {trial.dtype} {list(trial.shape)}, "
                "not float32 [1, classes]"
            )
        self.classes = int(trial.shape[1])

    def run(self, tensor: np.ndarray) -> np.ndarray:
        import torch

        with self._settings(), torch.inference_mode():
            try:
                result = self._module(torch.from_numpy(tensor))
            except RuntimeError as error:
                raise self._broken(error) from error
        if not isinstance(result, torch.Tensor):
            raise BadFileError(f"{self.path} is no image classifier: it gave a {type(result).__name__}, not a tensor")
        return np.asarray(result.numpy())

    def close(self) -> None:
        del self._module

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Threads and quantized engine are global in torch: set for one call, then put back."""
        import torch

        threads, engine = torch.get_num_threads(), torch.backends.quantized.engine
        torch.set_num_threads(self._threads)
        if self._quantized_engine is not None:
            torch.backends.quantized.engine = self._quantized_engine
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.quantized.engine = engine

    def _broken(self, error: Exception) -> BadFileError:
        reason = " ".join(str(error).split())[:300]
        return BadFileError(f"{self.path} cannot be run: {reason}; it is truncated, damaged or for another engine")
