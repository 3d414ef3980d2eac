"""Which operations of a quantized .tflite file compute the same as which of the float file it is held against.

Files that edgecnn wrote name the module of every operation, and are matched by that. Files without whole names, of
older bundles, are matched by the order and the sizes of what their operations give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import prod

from edgecnn.measure.anatomy import full_name
from edgecnn.runtime.tflite_file import Operation, TFLiteFile

# What only carries values from one layer to the next, or stores them another way.
MOVES = {
    "RESHAPE", "PAD", "PADV2", "MIRROR_PAD", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "SPLIT",
    "SPLIT_V", "GATHER", "PACK", "SHAPE", "CAST", "QUANTIZE", "DEQUANTIZE",
}  # fmt: skip
WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Layer:
    """One layer of a file: ``places`` of the operations that make it of its ``sources``, and its ``result``.

    Sources and result are indices of tensors; so is ``weight``, which is stored constant, or None.
    """

    name: str
    operation: str
    places: tuple[int, ...]
    sources: tuple[int, ...]
    result: int
    weight: int | None


@dataclass(frozen=True)
class Pair:
    """A layer in both files; ``comparable`` when it takes the same layers in both, so that it can be run alone."""

    name: str
    quantized: Layer
    exact: Layer
    comparable: bool


@dataclass(frozen=True)
class Pairing:
    """The layers of both files; ``named`` by modules or not; ``unmatched`` names what only one file has."""

    pairs: tuple[Pair, ...]
    named: bool
    unmatched: tuple[str, ...]


def pair_layers(quantized: TFLiteFile, exact: TFLiteFile) -> Pairing:
    """Match the layers of a quantized file to those of the float file ``exact``."""
    named = all(any(full_name(file, each) for each in file.operations) for file in (quantized, exact))
    ours, theirs = layers(quantized, named), layers(exact, named)
    found = _by_name(ours, theirs) if named else _by_size(ours, theirs, quantized, exact)
    same = dict(zip(quantized.inputs, exact.inputs, strict=False))
    pairs = []
    for one, other in found:
        if prod(quantized.tensors[one.result].shape) != prod(exact.tensors[other.result].shape):
            continue
        comparable = {same.get(index) for index in one.sources} == set(other.sources)
        pairs.append(Pair(one.name, one, other, comparable))
        same[one.result] = other.result
    matched = {pair.quantized.result for pair in pairs}
    matched_exact = {pair.exact.result for pair in pairs}
    left = [f"{each.name} (only in the quantized file)" for each in ours if each.result not in matched]
    left += [f"{each.name} (only in the float file)" for each in theirs if each.result not in matched_exact]
    return Pairing(tuple(pairs), named, tuple(left))


def layers(file: TFLiteFile, named: bool) -> list[Layer]:
    """The layers of a file in the order of execution: every operation with one result that is no mere move.

    ``named`` takes the modules' names; otherwise a layer is called after its operation and its place.
    """
    users: dict[int, list[int]] = {}
    for place, operation in enumerate(file.operations):
        for index in operation.inputs:
            users.setdefault(index, []).append(place)
    producer = {index: place for place, operation in enumerate(file.operations) for index in operation.outputs}
    names: dict[int, str] = {}
    found: list[Layer] = []
    for place, operation in enumerate(file.operations):
        if operation.name in MOVES or len(operation.outputs) != 1:
            continue
        before, sources = _back(file, operation, producer, names)
        after, result = _unpaired(file, operation.outputs[0], users)
        name = _name(file, place, names.get(sources[0]) if sources else None, named)
        count = sum(each.name.partition(" #")[0] == name for each in found) if named else 0
        names[result] = f"{name} #{count + 1}" if count else name
        weight = _weight(file, operation, producer)
        places = tuple(sorted({*before, place, *after}))
        found.append(Layer(names[result], operation.name, places, tuple(sources), result, weight))
    return found


def _name(file: TFLiteFile, place: int, source: str | None, named: bool) -> str:
    operation = file.operations[place]
    if not named:
        return f"{operation.name.lower()} at {place + 1}"
    return full_name(file, operation) or f"{operation.name.lower()} after {source or 'the input'}"


def _back(
    file: TFLiteFile, operation: Operation, producer: Mapping[int, int], results: Mapping[int, str]
) -> tuple[set[int], list[int]]:
    """Places of the moves before an operation, and the tensors of other layers or of the caller that they take."""
    places: set[int] = set()
    sources: dict[int, None] = {}
    ahead = [index for index in reversed(operation.inputs) if index >= 0]
    while ahead:
        index = ahead.pop()
        if file.tensors[index].constant:
            continue
        if index in results or index not in producer:
            sources[index] = None
        elif producer[index] not in places:
            places.add(producer[index])
            ahead += [each for each in reversed(file.operations[producer[index]].inputs) if each >= 0]
    return places, list(sources)


def _unpaired(file: TFLiteFile, result: int, users: Mapping[int, Sequence[int]]) -> tuple[list[int], int]:
    """A convolution over groups of pixels (passes/columns.py) gives what the RESHAPE after it makes single again."""
    after = users.get(result, [])
    if len(after) == 1 and file.operations[after[0]].name == "RESHAPE":
        single = file.operations[after[0]].outputs[0]
        if len(file.tensors[result].shape) == len(file.tensors[single].shape) == 4:
            return [after[0]], single
    return [], result


def _weight(file: TFLiteFile, operation: Operation, producer: Mapping[int, int]) -> int | None:
    if operation.name not in WITH_WEIGHTS or len(operation.inputs) < 2:
        return None
    index = operation.inputs[1]
    if index in producer:  # expanded from fewer bits
        index = file.operations[producer[index]].inputs[0]
    return index if index >= 0 and file.tensors[index].constant else None


def _by_name(ours: Sequence[Layer], theirs: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    named = {each.name: each for each in theirs}
    return [(each, named[each.name]) for each in ours if each.name in named]


def _by_size(
    ours: Sequence[Layer], theirs: Sequence[Layer], quantized: TFLiteFile, exact: TFLiteFile
) -> list[tuple[Layer, Layer]]:
    one, other = (
        [tuple(side for side in file.tensors[each.result].shape if side != 1) for each in found]
        for found, file in ((ours, quantized), (theirs, exact))
    )
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [(ours[block.a + step], theirs[block.b + step]) for block in blocks for step in range(block.size)]
