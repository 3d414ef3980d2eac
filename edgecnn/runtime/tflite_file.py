"""Reads what a .tflite file says of its operations and tensors, with the standard library alone.

A board has no flatbuffers package beside tflite-runtime, and a file may be damaged or made to do harm: every offset is
checked before it is followed, and no more is read than an honest file of that size can hold. Positions are kept, so
that slices.py can change a file in place. See TFLite's schema.fbs for the fields, and "FlatBuffers Internals" for how
tables and vectors lie in a file.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from edgecnn.errors import BadFileError
from edgecnn.runtime.terminal import printable

MARK = b"TFL3"
LIMIT = 1 << 31  # bytes; what a FlatBuffer's offsets reach
HIGHEST_RANK = 8  # of a tensor; no engine has kernels beyond it

# BuiltinOperator of schema.fbs, which only grows at its end, as far as an image classifier's operations go.
_NAMES = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM
MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS
SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN
EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2
GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG
SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT
UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE
MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND
SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D
IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
"""
NAMES = tuple(_NAMES.split())
CUSTOM = NAMES.index("CUSTOM")

# TensorType of schema.fbs: its name in numpy, which has none for int4, and bits of a value.
TYPES = {
    0: ("float32", 32), 1: ("float16", 16), 2: ("int32", 32), 3: ("uint8", 8), 4: ("int64", 64), 6: ("bool", 8),
    7: ("int16", 16), 8: ("complex64", 64), 9: ("int8", 8), 10: ("float64", 64), 12: ("uint64", 64),
    15: ("uint32", 32), 16: ("uint16", 16), 17: ("int4", 4),
}  # fmt: skip

BATCHES = (1, 2)  # what a dynamic batch may be stored as: one image, or one and its mirror image


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file; ``dtype`` is numpy's name for it, ``int4`` or ``other``; ``bytes`` at its stored shape.

    ``constant`` tensors have their values in the file; those of a ``dynamic`` batch have it in their first dimension,
    stored as for one image.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    constant: bool
    dynamic: bool


@dataclass(frozen=True)
class Operation:
    """An operation by TFLite's name, and the indices of its tensors; an input that is left out is -1."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Places:
    """Where in the file slices.py makes its changes: fields that point to vectors, and vectors; 0 for one not there."""

    inputs_field: int
    outputs_field: int
    operators: int
    signatures: int
    metadata: int


@dataclass(frozen=True)
class TFLiteFile:
    """The first subgraph of a file, which is the model; ``inputs`` and ``outputs`` are indices of tensors."""

    content: bytes
    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    places: Places

    @property
    def exact(self) -> bool:
        """Whether every engine is to give the same integers.

        Not where something is computed in float, nor with weights of 4 bits, whose kernels round otherwise on ARM.
        """
        computed = {index for operation in self.operations for index in (*operation.inputs, *operation.outputs)}
        used = [self.tensors[index] for index in computed if index >= 0]
        return not any("float" in each.dtype or each.dtype == "int4" for each in used)


def read(content: bytes) -> TFLiteFile:
    """What a .tflite file holds. Raises BadFileError for one that is damaged, foreign, or has nothing to run."""
    if len(content) >= LIMIT or content[4:8] != MARK:
        raise BadFileError(f"{len(content)} bytes are not a TFLite file (no 'TFL3' mark); give another file")
    reader = Reader(content)
    model = reader.table(0)
    codes = [_operation_name(each) for each in model.tables(1)]
    constant = [_has_values(each) for each in model.tables(4)]
    graphs = model.tables(2)
    if not graphs:
        raise reader.broken("it has no graph")
    graph = graphs[0]
    tensors = tuple(_tensor(each, constant) for each in graph.tables(0))
    operations = tuple(
        Operation(_pick(codes, each.number(0, "I", 0), reader), each.integers(1), each.integers(2))
        for each in graph.tables(3)
    )
    file = TFLiteFile(
        content, tensors, operations, graph.integers(1), graph.integers(2),
        Places(graph.field(1), graph.field(2), graph.vector(3)[0], model.vector(7)[0], model.vector(6)[0]),
    )  # fmt: skip
    _check(file, reader)
    return file


def _check(file: TFLiteFile, reader: Reader) -> None:
    used = [*file.inputs, *file.outputs, *(index for each in file.operations for index in each.outputs)]
    optional = [index for each in file.operations for index in each.inputs if index != -1]
    if any(not 0 <= index < len(file.tensors) for index in [*used, *optional]):
        raise reader.broken("a tensor that is used is not there")
    if not file.operations or not file.inputs or not file.outputs:
        raise reader.broken("it has no operations, no input or no output")


def _operation_name(code: Table) -> str:
    # Codes from 127 on are in the second field; old files have only the first, of one byte.
    number = max(code.number(0, "b", 0), code.number(3, "i", 0))
    if number == CUSTOM:
        return f"CUSTOM {code.text(1)[:60]}".rstrip()
    return NAMES[number] if 0 <= number < len(NAMES) else f"OPERATION_{number}"


def _has_values(buffer: Table) -> bool:
    return buffer.vector(0)[1] > 0 or buffer.number(1, "Q", 0) > 1  # the second: values behind the FlatBuffer


def _tensor(table: Table, constant: list[bool]) -> Tensor:
    shape = table.integers(0)
    if len(shape) > HIGHEST_RANK:
        raise table.reader.broken(f"a tensor has rank {len(shape)}")
    dtype, bits = TYPES.get(table.number(1, "b", 0), ("other", 8))
    values = _pick(constant, table.number(2, "I", 0), table.reader)
    dynamic = table.integers(7)[:1] == (-1,)
    return Tensor(table.text(3), shape, dtype, -(-prod(max(0, each) for each in shape) * bits // 8), values, dynamic)


def _pick(items: Sequence[Any], index: int, reader: Reader) -> Any:
    if index >= len(items):
        raise reader.broken("an index points past the end of its list")
    return items[index]


class BrokenFileError(BadFileError):
    """A .tflite file is damaged, or holds what no image classifier needs; ``reason`` says what is wrong in it."""

    def __init__(self, size: int, reason: str) -> None:
        self.reason = reason
        super().__init__(f"a TFLite file of {size} bytes is damaged: {reason}; copy it again")


class Reader:
    """The bytes of a file, read at checked positions, and not without end; tflite_tables.py reads through it too."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = len(content)  # list items; each takes 4 bytes in an honest file, which shares few of its lists

    def broken(self, reason: str) -> BrokenFileError:
        """The error to raise."""
        return BrokenFileError(len(self.content), reason)

    def number(self, form: str, position: int) -> int:
        """The little-endian number of a struct format at a position."""
        if not 0 <= position <= len(self.content) - struct.calcsize(form):
            raise self.broken("it points outside itself")
        value: int = struct.unpack_from("<" + form, self.content, position)[0]
        return value

    def table(self, field: int) -> Table:
        """The table that the field at a position points to."""
        return Table(self, field + self.number("I", field))

    def items(self, start: int, count: int, size: int) -> None:
        """Check that a list lies within the file, and count it."""
        self._left -= count
        if self._left < 0 or start + count * size > len(self.content):
            raise self.broken("its lists are longer than it is")


class Table:
    """A FlatBuffer table; a field is asked for by its number in the schema."""

    def __init__(self, reader: Reader, position: int) -> None:
        self.reader, self.position = reader, position
        self._layout = position - reader.number("i", position)
        self._end = reader.number("H", self._layout)

    def field(self, index: int) -> int:
        """The position of a field; 0 when the table has not got it."""
        entry = 4 + 2 * index
        offset = self.reader.number("H", self._layout + entry) if entry < self._end else 0
        return self.position + offset if offset else 0

    def number(self, index: int, form: str, default: int) -> int:
        """A field that holds a number."""
        place = self.field(index)
        return self.reader.number(form, place) if place else default

    def vector(self, index: int) -> tuple[int, int]:
        """(position, number of items) of a list; (0, 0) when there is none."""
        place = self.field(index)
        if not place:
            return 0, 0
        start = place + self.reader.number("I", place)
        return start, self.reader.number("I", start)

    def integers(self, index: int) -> tuple[int, ...]:
        """A list of int32."""
        start, count = self.vector(index)
        self.reader.items(start + 4, count, 4)
        return struct.unpack_from(f"<{count}i", self.reader.content, start + 4)

    def tables(self, index: int) -> list[Table]:
        """A list of tables."""
        start, count = self.vector(index)
        self.reader.items(start + 4, count, 4)
        return [self.reader.table(start + 4 + 4 * item) for item in range(count)]

    def text(self, index: int) -> str:
        """A text; bytes that are no UTF-8, and line breaks, become marks that can be printed."""
        start, count = self.vector(index)
        self.reader.items(start + 4, count // 4, 4)
        text = self.reader.content[start + 4 : start + 4 + count].decode("utf-8", errors="replace")
        return printable(text)
