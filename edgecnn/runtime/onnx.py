"""Runs .onnx files in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, MissingExtraError, UsageError
from edgecnn.runtime.manifest import Artifact, Image, InputTensor
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET, InputSpec, OutputSpec
from edgecnn.runtime.runner import Runner

TYPES = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8"}


class OnnxRunner(Runner):
    """An .onnx classifier: one image input [batch, channels, height, width], one output [batch, classes].

    ONNX does not record the quantization of its inputs and outputs: other types than float32 take it from
    ``entry``. Raises BadFileError, MissingExtraError.
    """

    format = "onnx"

    def __init__(self, path: Path, entry: Artifact | None, image: Image | None, threads: int) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as native
        except ImportError as error:
            raise MissingExtraError("running an .onnx file", "onnxruntime", "train") from error
        self.path = path
        self.engine = f"onnxruntime {onnxruntime.__version__}"
        self._errors = (
            native.Fail, native.InvalidArgument, native.InvalidGraph, native.InvalidProtobuf, native.NoModel,
            native.NoSuchFile, native.NotImplemented, native.RuntimeException, RuntimeError, ValueError,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise self._broken(error) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [[[size if isinstance(size, int) else None for size in each.shape] for each in side]
                  for side in (inputs, outputs)]  # fmt: skip
        kinds = [TYPES.get(side[0].type, side[0].type) if side else "" for side in (inputs, outputs)]
        self.input, self.output, self.classes = specs(path, shapes[0], shapes[1], kinds[0], kinds[1], entry, image)
        self._name = inputs[0].name
        self._one_by_one = shapes[0][0][0] == 1

    def run(self, tensor: np.ndarray) -> np.ndarray:
        pieces = [tensor[index : index + 1] for index in range(len(tensor))] if self._one_by_one else [tensor]
        try:
            return np.concatenate([self._session.run(None, {self._name: piece})[0] for piece in pieces])
        except self._errors as error:
            raise self._broken(error) from error

    def close(self) -> None:
        del self._session

    def _broken(self, error: Exception) -> BadFileError:
        return BadFileError(
            f"{self.path} cannot be run: {one_line(error)}; it is truncated, damaged or not for this engine"
        )


def one_line(error: Exception) -> str:
    """What an engine said, on one line of a bearable length."""
    return " ".join(str(error).split())[:300]


def specs(
    path: Path,
    inputs: list[list[int | None]],
    outputs: list[list[int | None]],
    taken: str,
    given: str,
    entry: Artifact | None,
    image: Image | None,
) -> tuple[InputSpec, OutputSpec, int]:
    """What an .onnx classifier takes and gives, and its classes, from what an engine read in it.

    ``inputs`` and ``outputs`` have the sizes of each, None for a dynamic one; ``taken`` and ``given`` are the types of
    the first of either. Raises BadFileError when it is no image classifier.
    """
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0]) != 4 or len(outputs[0]) != 2:
        raise BadFileError(f"{path} is no image classifier: it needs one input of rank 4, one output of rank 2")
    sizes = [size for size in (*inputs[0][1:], outputs[0][1]) if size is not None]
    if len(sizes) != 4:
        raise BadFileError(
            f"{path}: only the batch may be dynamic, but its sizes are {inputs[0][1:]} and {outputs[0][1:]}"
        )
    *shape, classes = sizes
    tensor = InputTensor("NCHW", taken) if entry is None else entry.input
    height, width, channels = (*shape[1:], shape[0]) if tensor.layout == "NCHW" else shape
    offset, divisor = (INPUT_OFFSET, INPUT_DIVISOR) if image is None else (image.offset, image.divisor)
    output = OutputSpec() if entry is None else entry.output
    try:
        return (
            InputSpec(height, width, channels, tensor.layout, taken, tensor.scale, tensor.zero_point, offset, divisor),
            OutputSpec(given, output.scale, output.zero_point),
            classes,
        )
    except UsageError as error:
        raise BadFileError(f"{path}: {error}") from error
