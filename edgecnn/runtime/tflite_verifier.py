"""Verifies a .tflite file that is not trusted, before an interpreter touches it.

tflite_tables.py finds the FlatBuffer sound; here its meaning is checked: every index points at something, constants
have as many bytes as their shapes say, quantization fits its tensor, each operation takes only what is there already
(so there are no cycles), shapes follow from each other by the rules of tflite_shapes.py, so that memory and work are
bounded, and types go together by those of tflite_types.py. What passes is a plain image classifier; it is still run in
a process of its own first (proving.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError
from edgecnn.runtime.tflite_file import BATCHES, HIGHEST_RANK, MARK, TYPES, Operation, Reader, Table, read
from edgecnn.runtime.tflite_shapes import RULES, Shape, ShapeError, Step, Taken, check_shapes
from edgecnn.runtime.tflite_tables import MOST, OPTIONS, check_tables
from edgecnn.runtime.tflite_types import check_types

SMALLEST = 64  # bytes; a FlatBuffer with one tensor is larger
LARGEST = 1 << 28  # bytes of a file, of a tensor, and of all tensors that are needed at once
VERSION = 3
RANGE = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (-(1 << 31), (1 << 31) - 1)}
QUANTIZED = ("int8", "uint8", "int16", "int4")
LEAST_SCALE, GREATEST_SCALE = 1e-30, 1e30
OPTIONAL = {"FULLY_CONNECTED": (2,)}  # inputs that may be left out; a convolution without a bias crashes LiteRT 2.3
ACTIVATIONS = (0, 1, 2, 3)  # none, RELU, RELU_N1_TO_1, RELU6: those that kernels have
ACTIVATION_FIELD = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5, "FULLY_CONNECTED": 0, "ADD": 0,
    "SUB": 0, "MUL": 0, "DIV": 0, "L2_NORMALIZATION": 0,
}  # fmt: skip


@dataclass(frozen=True)
class _Tensor:
    taken: Taken
    constant: bool


def read_verified(path: Path, sha256: str | None = None) -> bytes:
    """The bytes of a .tflite file once they are verified, and found to be those that a manifest means by ``sha256``.

    They are read once, so that what is run is what was verified. Raises BadFileError.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror}; give another file") from error
    if len(content) < SMALLEST or content[4:8] != MARK:
        raise BadFileError(f"{path} is not a TFLite file (no 'TFL3' mark); copy it again or give another file")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise BadFileError(f"{path} does not have the SHA-256 that the manifest says; copy the bundle again")
    try:
        verify(content)
    except BadFileError as error:
        raise BadFileError(f"{path}: {error}") from error
    return content


def verify(content: bytes) -> None:
    """Raise BadFileError, saying what is wrong, unless ``content`` is a .tflite file that is safe to try out."""
    if not SMALLEST <= len(content) <= LARGEST:
        raise BadFileError(f"a TFLite file of {len(content)} bytes (valid: {SMALLEST} to {LARGEST}); give another file")
    reader = Reader(content)
    check_tables(reader)
    model = Reader(content).table(0)  # counts anew
    if model.number(0, "I", 0) != VERSION:
        raise reader.broken(f"its version is {model.number(0, 'I', 0)}, not {VERSION}")
    graphs, buffers = model.tables(2), model.tables(4)
    if len(graphs) != 1:
        raise reader.broken(f"it has {len(graphs)} graphs, where an image classifier has one")
    if not buffers or buffers[0].vector(0)[1]:
        raise reader.broken("its first list of values must be there and empty")
    tables = graphs[0].tables(0)
    if len(tables) > MOST:
        raise reader.broken(f"it has {len(tables)} tensors, at most {MOST} are allowed")
    tensors = [_tensor(reader, table, buffers) for table in tables]
    if any(not 0 <= index < len(buffers) for index in model.integers(5)) or any(
        each.number(1, "I", 0) >= len(buffers) for each in model.tables(6)
    ):
        raise reader.broken("its metadata is not there")
    for signature in model.tables(7):
        listed = [*signature.tables(0), *signature.tables(1)]
        if signature.number(4, "I", 0) or any(each.number(1, "I", 0) >= len(tensors) for each in listed):
            raise reader.broken("a signature names what is not there")
    operations = read(content).operations  # checks the indices of operations, inputs and outputs
    _check_graph(reader, graphs[0], operations, tensors)


def _tensor(reader: Reader, table: Table, buffers: list[Table]) -> _Tensor:
    shape, number = table.integers(0), table.number(1, "b", 0)
    name, bits = TYPES.get(number, ("", 0))
    if not name:
        raise reader.broken(f"a tensor has values of type {number}, which image classifiers do not need")
    if len(shape) > HIGHEST_RANK or any(size < 1 for size in shape):
        raise reader.broken(f"a tensor has the shape {list(shape[: HIGHEST_RANK + 1])}")
    size = -(-prod(shape) * bits // 8)
    if size > LARGEST:
        raise reader.broken(f"a tensor has the shape {list(shape)}, which is more than {LARGEST >> 20} MiB")
    signature = table.integers(7)
    dynamic = bool(shape) and signature == (-1, *shape[1:]) and shape[0] in BATCHES
    if signature and signature != shape and not dynamic:
        raise reader.broken(f"a tensor of {list(shape)} may have the shape {list(signature[:9])}")
    index = table.number(2, "I", 0)
    if index >= len(buffers):
        raise reader.broken("the values of a tensor are not there")
    start, count = buffers[index].vector(0)
    if count and count != size:
        raise reader.broken(f"a tensor of {size} bytes has {count} bytes of values")
    scales, axis = _check_quantization(reader, table, shape, name)
    values = None
    if count and name in ("int32", "int64"):
        values = np.frombuffer(reader.content, np.dtype(name).newbyteorder("<"), prod(shape), start + 4)
    return _Tensor(Taken(shape, name, size, values, scales, axis), count > 0)


def _check_quantization(reader: Reader, table: Table, shape: Shape, dtype: str) -> tuple[int, int]:
    """The number of a tensor's scales, and the axis along which several lie. Raises BadFileError."""
    place = table.field(4)
    if not place:
        if dtype in QUANTIZED:
            raise reader.broken(f"a tensor of {dtype} has no scale")
        return 0, 0
    grid = reader.table(place)
    for index in (0, 1):
        start, count = grid.vector(index)
        if count not in (0, 1, *shape):
            raise reader.broken(f"a tensor has {count} limits")
    (start, scales), (begin, points) = grid.vector(2), grid.vector(3)
    axis = grid.number(6, "i", 0)
    if dtype in QUANTIZED and not scales:
        raise reader.broken(f"a tensor of {dtype} has no scale")
    if scales > 1 and not (0 <= axis < len(shape) and shape[axis] == scales):
        raise reader.broken(f"a tensor of {list(shape)} has {scales} scales along axis {axis}")
    if points != scales and (points or dtype in QUANTIZED):
        raise reader.broken(f"a tensor has {scales} scales and {points} zero points")
    grids = np.frombuffer(reader.content, "<f4", scales, start + 4)
    if dtype != "float32" and not ((grids >= LEAST_SCALE) & (grids <= GREATEST_SCALE)).all():
        raise reader.broken(f"a tensor of {dtype} has a scale outside {LEAST_SCALE:g} to {GREATEST_SCALE:g}")
    low, high = RANGE.get(dtype, RANGE["int32"])
    zeros = np.frombuffer(reader.content, "<i8", points, begin + 4)
    if not ((zeros >= low) & (zeros <= high)).all():
        raise reader.broken(f"a tensor of {dtype} has a zero point outside its range")
    return scales, axis


def _check_graph(reader: Reader, graph: Table, operations: tuple[Operation, ...], tensors: list[_Tensor]) -> None:
    inputs, outputs, operators = graph.integers(1), graph.integers(2), graph.tables(3)
    if len(operations) > MOST:
        raise reader.broken(f"it has {len(operations)} operations, at most {MOST} are allowed")
    there = {index for index, tensor in enumerate(tensors) if tensor.constant}
    if there.intersection(inputs) or len(set(inputs)) < len(inputs):
        raise reader.broken("an input is a constant, or is one twice")
    there.update(inputs)
    last = dict.fromkeys(outputs, len(operations))
    for place, operation in enumerate(operations):
        last |= {index: max(place, last.get(index, 0)) for index in operation.inputs}
    live = sum(tensors[index].taken.bytes for index in inputs)
    ends: dict[int, list[int]] = {}
    for place, operation in enumerate(operations):
        taken, given = operation.inputs, operation.outputs
        where = f"operation {place + 1}, {operation.name}"
        if not there.issuperset(index for index in taken if index != -1):
            raise reader.broken(f"{where}, takes a tensor that nothing has made yet")
        if there.intersection(given) or len(set(given)) < len(given):
            raise reader.broken(f"{where}, writes a tensor that is there already")
        try:
            _check_operation(
                operation.name,
                operators[place],
                [None if index == -1 else tensors[index] for index in taken],
                [tensors[index] for index in given],
            )
        except ShapeError as error:
            raise reader.broken(f"{where}: {error}") from error
        there.update(given)
        live += sum(tensors[index].taken.bytes for index in given)
        if live > LARGEST:
            raise reader.broken(f"at {where}, it needs more than {LARGEST >> 20} MiB of tensors at once")
        for index in given:
            ends.setdefault(last.get(index, place), []).append(index)
        live -= sum(tensors[index].taken.bytes for index in ends.pop(place, ()))
    if not there.issuperset(outputs):
        raise reader.broken("nothing makes an output")


def _check_operation(name: str, operator: Table, inputs: list[_Tensor | None], outputs: list[_Tensor]) -> None:
    if name not in RULES:
        raise ShapeError(f"it is none of the {len(RULES)} operations that are let through ({', '.join(sorted(RULES))})")
    kind = operator.number(3, "B", 0)
    if kind and kind not in OPTIONS:  # without a table of options nothing has asked yet
        raise ShapeError(f"it has options of kind {kind}, which no image classifier needs")
    if kind and name not in OPTIONS[kind][0].split():
        raise ShapeError(f"it has the options of {OPTIONS[kind][0]}")
    place = operator.field(4) if kind else 0
    options = operator.reader.table(place) if place else None

    def number(index: int, form: str, default: int) -> int:
        return default if options is None else options.number(index, form, default)

    def listed(index: int) -> Shape:
        return () if options is None else options.integers(index)

    for index, taken in enumerate(inputs):
        if taken is None and index not in OPTIONAL.get(name, ()):
            raise ShapeError(f"input {index} is missing")
    if name in ACTIVATION_FIELD and number(ACTIVATION_FIELD[name], "b", 0) not in ACTIVATIONS:
        raise ShapeError("it has an activation that kernels do not have")
    given = tuple(None if each is None else each.taken for each in inputs)
    step = Step(given, len(outputs), number, listed)
    check_shapes(name, step, [each.taken.shape for each in outputs])
    check_types(name, step, [each.taken for each in outputs])
