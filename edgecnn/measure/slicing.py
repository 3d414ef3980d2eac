"""The part of a profile that runs in the measured process: opens one slice of a file at a time and times it."""

from __future__ import annotations

from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from edgecnn.errors import BadFileError
from edgecnn.measure.anatomy import macs, module
from edgecnn.measure.latency import time_calls
from edgecnn.runtime.internals import delegated
from edgecnn.runtime.litert import engine_in_force, open_content
from edgecnn.runtime.slices import alone, empty, prefix
from edgecnn.runtime.tflite_file import read
from edgecnn.runtime.tflite_verifier import read_verified

WHOLE, EMPTY, PREFIX, ALONE = "whole", "empty", "prefix", "alone"
WARM_UP = 0.005  # seconds, for each slice
SECONDS = 0.02
FEWEST_CALLS = 5


class Slices:
    """A .tflite file and the models cut out of it. Raises BadFileError for one that the verifier refuses."""

    def __init__(self, path: Path, threads: int) -> None:
        self._threads = threads
        self._file = read(read_verified(path))

    def facts(self) -> dict[str, Any]:
        """The engine, how many partitions it makes, and what is known of each operation.

        An operation is ``alike`` when the delegate takes the same operations in the model that ends with it as it
        takes of those in the whole file.
        """
        count, inside = delegated(self._file.content)
        operations = []
        for place, operation in enumerate(self._file.operations):
            output = self._file.tensors[operation.outputs[0]]
            _, taken = delegated(prefix(self._file, place + 1))
            operations.append({
                "name": operation.name, "shape": list(output.shape), "dtype": output.dtype,
                "module": module(self._file, operation), "macs": macs(self._file, operation),
                "inside": place in inside, "alike": taken == {each for each in inside if each <= place},
            })  # fmt: skip
        return {"engine": engine_in_force(), "partitions": count, "operations": operations}

    def time(self, part: str, count: int, batch: int) -> int:
        """Nanoseconds of the median call of a slice on ``batch`` images of noise, copied in before.

        The slice is the WHOLE file, EMPTY of operations, the PREFIX of ``count``, or the one with that number ALONE.
        Raises BadFileError when the engine refuses it.
        """
        content = self._cut(part, count)
        interpreter = open_content(content, delegate=True, threads=self._threads)
        try:
            for each in interpreter.get_input_details():
                if batch > 1 and list(each["shape_signature"][:1]) != [-1]:
                    raise BadFileError(f"'{each['name'][:60]}' is for one image, not for {batch}")
                if batch > 1:
                    interpreter.resize_tensor_input(each["index"], (batch * each["shape"][0], *each["shape"][1:]))
            interpreter.allocate_tensors()
            for each in interpreter.get_input_details():
                interpreter.set_tensor(each["index"], _noise(each["shape"], np.dtype(each["dtype"])))
            time_calls(interpreter.invoke, WARM_UP)
            return median_low(time_calls(interpreter.invoke, SECONDS, FEWEST_CALLS))
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or "it takes more memory than there is"
            raise BadFileError(f"cannot be run in part: {reason}") from error

    def _cut(self, part: str, count: int) -> bytes:
        if part == WHOLE:
            return self._file.content
        if part == EMPTY:
            return empty(self._file)
        return prefix(self._file, count) if part == PREFIX else alone(self._file, count - 1)


def _noise(shape: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Values of a tensor's type, the same in every process: small ones, which are normal as floats."""
    values = np.random.default_rng(0).integers(-100, 101, shape)
    return (values / 50).astype(dtype) if dtype.kind == "f" else np.abs(values).astype(dtype)
