"""Runs .onnx files in OpenVINO, on the CPU.

OpenVINO computes in bfloat16 of its own accord where the CPU can, which is another model: it is told to stay with
float32. What a file has quantized stays int8 all the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, MissingExtraError
from edgecnn.runtime.manifest import Artifact, Image
from edgecnn.runtime.onnx import one_line, specs
from edgecnn.runtime.runner import Runner


class OpenVINORunner(Runner):
    """An .onnx classifier: one image input [batch, channels, height, width], one output [batch, classes].

    A file whose batch is dynamic is compiled anew when the batch changes, and only then: for a known shape OpenVINO
    has kernels up to three times as fast. Raises BadFileError, MissingExtraError.
    """

    format = "onnx"

    def __init__(self, path: Path, entry: Artifact | None, image: Image | None, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError("running an .onnx file in OpenVINO", "openvino", "openvino") from error
        self.path = path
        self.engine = f"openvino {openvino.__version__.partition('-')[0]}"
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }  # fmt: skip
        try:
            self._model = self._core.read_model(path)
            sides = (self._model.inputs, self._model.outputs)
            inputs, outputs = ([_sizes(each) for each in side] for side in sides)
            types = [np.dtype(side[0].element_type.to_dtype()).name for side in sides]
        except (RuntimeError, TypeError, IndexError) as error:
            raise self._broken(error) from error
        self.input, self.output, self.classes = specs(path, inputs, outputs, types[0], types[1], entry, image)
        self._one_by_one = inputs[0][0] == 1
        self._compile(1)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        pieces = [tensor[index : index + 1] for index in range(len(tensor))] if self._one_by_one else [tensor]
        return np.concatenate([self._run(piece) for piece in pieces])

    def close(self) -> None:
        del self._request, self._model, self._core

    def _run(self, tensor: np.ndarray) -> np.ndarray:
        if len(tensor) != self._batch:
            self._compile(len(tensor))
        try:
            result: np.ndarray = self._request.infer({0: tensor}, share_inputs=True)[0]
        except RuntimeError as error:
            raise self._broken(error) from error
        return result

    def _compile(self, batch: int) -> None:
        try:
            if not self._one_by_one:
                self._model.reshape([batch, *self.input.shape])
            self._request = self._core.compile_model(self._model, "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            raise self._broken(error) from error
        self._batch = batch

    def _broken(self, error: Exception) -> BadFileError:
        return BadFileError(
            f"{self.path} cannot be run: {one_line(error)}; it is truncated, damaged or not for this engine"
        )


def _sizes(port: object) -> list[int | None]:
    """The sizes of an input or output, None where they are dynamic; none at all when even their number is."""
    shape = port.partial_shape  # type: ignore[attr-defined]
    if shape.rank.is_dynamic:
        return []
    return [None if size.is_dynamic else int(size.get_length()) for size in shape]
