"""Looks inside a TFLite file as the engine runs it: values of inner tensors, and what XNNPACK takes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.errors import UsageError
from edgecnn.runtime.litert import open_content

DELEGATE = "DELEGATE"  # the engine's name for an operation that stands for a whole partition


@dataclass(frozen=True)
class Grid:
    """How a tensor stores real numbers: (q - zero_point) * scale, per tensor or along ``axis``; as they are without."""

    dtype: str
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int

    def real(self, stored: np.ndarray) -> np.ndarray:
        """float32 of stored values."""
        if not len(self.scales):
            return stored.astype(np.float32)
        shape = [1] * stored.ndim
        if len(self.scales) > 1:
            shape[self.axis] = -1
        real: np.ndarray = (stored.astype(np.float64) - self.zero_points.reshape(shape)) * self.scales.reshape(shape)
        return real.astype(np.float32)

    def stored(self, real: np.ndarray) -> np.ndarray:
        """Real numbers of a tensor with one scale, or none, rounded and cut off as the runtime stores them."""
        if not len(self.scales):
            return real.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        levels = np.rint(real.astype(np.float64) / self.scales[0]) + self.zero_points[0]
        return np.clip(levels, limits.min, limits.max).astype(self.dtype)

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest number that a tensor with one scale can hold; None for one with none or many."""
        if len(self.scales) != 1:
            return None
        limits = np.iinfo(self.dtype)
        low, high = ((limit - int(self.zero_points[0])) * float(self.scales[0]) for limit in (limits.min, limits.max))
        return low, high


def grids(content: bytes) -> dict[int, Grid]:
    """How each tensor of a file is stored, by index. Raises BadFileError for a file that cannot be run."""
    found = {}
    for each in open_content(content, delegate=False).get_tensor_details():
        how = each["quantization_parameters"]
        scales, zeros = (np.asarray(how[name], np.float64) for name in ("scales", "zero_points"))
        found[each["index"]] = Grid(np.dtype(each["dtype"]).name, scales, zeros, int(how["quantized_dimension"]))
    return found


def constants(content: bytes, indices: Sequence[int]) -> dict[int, np.ndarray]:
    """What constant tensors of a file hold, as stored, by index. Raises BadFileError like ``grids``."""
    interpreter = open_content(content, delegate=False)
    return {index: interpreter.get_tensor(index) for index in indices}


def run_piece(content: bytes, inputs: Sequence[np.ndarray], outputs: Sequence[int]) -> list[np.ndarray]:
    """What the tensors ``outputs`` of a file hold, as stored, after a run on its ``inputs`` in the file's order.

    The operations run one by one, in TFLite's own kernels, on as many images as the first dimension of each input
    says. Raises BadFileError for a file that cannot be run, UsageError for an input or an output that does not fit.
    """
    interpreter = open_content(content, delegate=False)
    try:
        doors = interpreter.get_input_details()
        for door, tensor in zip(doors, inputs, strict=True):
            interpreter.resize_tensor_input(door["index"], tensor.shape)
        interpreter.allocate_tensors()
        for door, tensor in zip(doors, inputs, strict=True):
            interpreter.set_tensor(door["index"], tensor)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"a piece of a TFLite file cannot be run: {reason}") from error


def tensor_values(content: bytes, tensor: np.ndarray, indices: Sequence[int]) -> dict[int, np.ndarray]:
    """What the tensors ``indices`` of a file hold after a run on the input ``tensor`` [N, ...], by index.

    The operations run one by one, in TFLite's own kernels. Values quantized per tensor come as the real numbers they
    stand for, float32 ``(q - zero_point) * scale``; all others as they are stored. Raises BadFileError for a file
    that cannot be run, UsageError for an input or an index that it does not have.
    """
    interpreter = open_content(content, delegate=False)
    entrance = interpreter.get_input_details()[0]
    try:
        if tuple(entrance["shape"]) != tensor.shape:
            interpreter.resize_tensor_input(entrance["index"], tensor.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(entrance["index"], tensor)
        interpreter.invoke()
        details = {each["index"]: each for each in interpreter.get_tensor_details()}
        return {index: _real(interpreter.get_tensor(index), details[index]) for index in indices}
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"a TFLite file cannot be run on {tensor.dtype} {list(tensor.shape)}: {reason}") from error


def partitions(content: bytes) -> tuple[int, list[str]]:
    """How many partitions XNNPACK makes of a file, and the names of the operations it leaves outside, in order.

    One partition and nothing outside is the fastest: every change between the two costs. Raises BadFileError.
    """
    count, taken, operations = _delegation(content)
    return count, [each["op_name"] for each in operations if each["index"] not in taken]


def delegated(content: bytes, engine: str | None = None) -> tuple[int, set[int]]:
    """How many partitions XNNPACK makes of a file, and the places of the operations in them.

    ``engine`` and errors are open_content's.
    """
    count, taken, _ = _delegation(content, engine)
    return count, taken


def _delegation(content: bytes, engine: str | None = None) -> tuple[int, set[int], list[dict[str, Any]]]:
    listed = open_content(content, delegate=True, engine=engine)._get_ops_details()
    delegates = [each for each in listed if each["op_name"] == DELEGATE]
    operations = [each for each in listed if each["op_name"] != DELEGATE]
    taken = {index for delegate in delegates for index in _inside(delegate, operations)}
    return len(delegates), taken, operations


def _inside(delegate: dict[str, Any], operations: Sequence[dict[str, Any]]) -> set[int]:
    """Indices of the operations a partition replaced: back from its outputs, as far as its inputs.

    The engine goes on listing them, and says nowhere which they are.
    """
    producer = {tensor: each for each in operations for tensor in each["outputs"]}
    border = set(delegate["inputs"])
    found: set[int] = set()
    ahead = list(delegate["outputs"])
    while ahead:
        tensor = ahead.pop()
        operation = producer.get(tensor)
        if operation is not None and tensor not in border and operation["index"] not in found:
            found.add(operation["index"])
            ahead.extend(operation["inputs"])
    return found


def _real(stored: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scales, zero_points = (details["quantization_parameters"][name] for name in ("scales", "zero_points"))
    if len(scales) != 1:
        return stored
    real: np.ndarray = (stored.astype(np.float64) - float(zero_points[0])) * float(scales[0])
    return real.astype(np.float32)
