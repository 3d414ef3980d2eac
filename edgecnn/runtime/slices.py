"""Cuts a .tflite file into smaller ones: its first operations, one operation alone, any piece, or none at all.

The difference of two prefixes is what an operation costs inside its graph, on any board. A file is changed in place:
its list of operations is shortened or pointed elsewhere, and new lists of inputs and outputs go to the end. Everything
else, quantization and a dynamic batch included, stays as it was, so each slice is about as large as the file. Only
signatures and metadata are dropped: they name tensors that a slice has not got.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from edgecnn.errors import UsageError
from edgecnn.runtime.tflite_file import Operation, TFLiteFile, read


def prefixes(content: bytes) -> Iterator[tuple[Operation, bytes]]:
    """Each operation of a file in order, and the model that ends with it; see ``prefix``. Raises BadFileError."""
    file = read(content)
    for index, operation in enumerate(file.operations):
        yield operation, prefix(file, index + 1)


def prefix(file: TFLiteFile, count: int) -> bytes:
    """The model of the first ``count`` operations.

    Its outputs are, of the tensors that these make, the file's own outputs and then those that later operations use. So
    the last prefix is the whole file. Raises UsageError for a count below 1 or beyond the file.
    """
    _check(file, count - 1)
    made = {index for operation in file.operations[:count] for index in operation.outputs}
    later = {index for operation in file.operations[count:] for index in operation.inputs}
    own = [index for index in file.outputs if index in made]
    ends = [*own, *sorted((made & later) - set(own))]
    return _cut(file, range(count), file.inputs, ends or file.operations[count - 1].outputs)


def alone(file: TFLiteFile, index: int) -> bytes:
    """The model of one operation; the tensors that it takes from others are its inputs.

    Operations that only unpack constants for it, such as DEQUANTIZE on weights, come along. Raises UsageError for an
    index that is not there.
    """
    _check(file, index)
    known = {number for number, tensor in enumerate(file.tensors) if tensor.constant} | {-1}
    unpacking: dict[int, int] = {}  # tensor -> the operation that makes it of constants
    for number, operation in enumerate(file.operations[:index]):
        if known.issuperset(operation.inputs):
            known.update(operation.outputs)
            unpacking |= dict.fromkeys(operation.outputs, number)
    needed, ahead = {index}, list(file.operations[index].inputs)
    while ahead:
        number = unpacking.get(ahead.pop(), -1)
        if number >= 0 and number not in needed:
            needed.add(number)
            ahead.extend(file.operations[number].inputs)
    starts = dict.fromkeys(number for number in file.operations[index].inputs if number not in known)
    return _cut(file, sorted(needed), [*starts], file.operations[index].outputs)


def piece(file: TFLiteFile, kept: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The model of the operations at the places ``kept``, in order, between tensors of the file.

    Raises UsageError for a place that is not there, and for a tensor that the piece would need and has not got.
    """
    made = {index for index, tensor in enumerate(file.tensors) if tensor.constant} | {-1, *inputs}
    for place in kept:
        _check(file, place)
        _need(file, made, file.operations[place].inputs)
        made.update(file.operations[place].outputs)
    _need(file, made, outputs)
    return _cut(file, kept, inputs, outputs)


def empty(file: TFLiteFile) -> bytes:
    """The model without operations: calling it costs what calling the file costs before anything is computed.

    The file's outputs become inputs too, since nothing makes them.
    """
    given = dict.fromkeys([*file.inputs, *file.outputs])
    return _cut(file, (), [*given], file.outputs)


def _check(file: TFLiteFile, index: int) -> None:
    if not 0 <= index < len(file.operations):
        raise UsageError(f"there is no operation {index + 1} in a file of {len(file.operations)} (valid: 1 and up)")


def _need(file: TFLiteFile, made: set[int], wanted: Sequence[int]) -> None:
    missing = [index for index in wanted if index not in made]
    if missing:
        raise UsageError(f"a piece of the file needs tensor '{file.tensors[missing[0]].name[:80]}', which it lacks")


def _cut(file: TFLiteFile, kept: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The file with only the operations ``kept``, in order, between other inputs and outputs."""
    places = file.places
    content = bytearray(file.content)
    slot = places.operators + 4
    tables = [slot + 4 * index + _number(content, slot + 4 * index) for index in kept]
    for position, table in enumerate(tables):
        # An offset only reaches forward. Operations keep their order, so none moves to a later slot than its own.
        struct.pack_into("<I", content, slot + 4 * position, table - slot - 4 * position)
    for start, length in ((places.operators, len(tables)), (places.signatures, 0), (places.metadata, 0)):
        if start:
            struct.pack_into("<I", content, start, length)
    content += bytes(-len(content) % 4)
    for field, tensors in ((places.inputs_field, inputs), (places.outputs_field, outputs)):
        struct.pack_into("<I", content, field, len(content) - field)
        content += struct.pack(f"<{len(tensors) + 1}i", len(tensors), *tensors)
    return bytes(content)


def _number(content: bytearray, position: int) -> int:
    value: int = struct.unpack_from("<I", content, position)[0]
    return value
