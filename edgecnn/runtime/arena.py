"""How much memory the tensors of a .tflite file need, from when each is made and last used.

TFLite lays them out in one block, its arena. The figure here depends on the file alone: what kernels want besides for
scratch differs from engine to engine, and XNNPACK keeps its own memory for what it takes over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import product

from edgecnn.runtime.tflite_file import TFLiteFile

ALIGNMENT = 64  # bytes; TFLite's kDefaultTensorAlignment
# Computed in place: those that change nothing but the shape, and those that write over a tensor nobody else reads.
RELABELLING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
OVERWRITING = ("ADD", "SUB", "MUL", "DIV", "SOFTMAX")


@dataclass
class _Block:
    """Bytes that are needed from the ``first`` to the ``last`` operation."""

    bytes: int
    first: int
    last: int
    start: int = 0


def arena_bytes(file: TFLiteFile, batch: int = 1) -> int:
    """The arena for ``batch`` images in TFLite's layout: the largest block first, each as low as it fits.

    See ArenaPlanner in TFLite (greedy by size: Y. Pisarchyk and J. Lee, "Efficient memory management for deep neural
    net inference", 2020). Inputs are kept to the end, and so are outputs.
    """
    placed: list[_Block] = []
    # Of equal blocks the earlier one first; TFLite puts those that live for the whole run before all others.
    end = len(file.operations)
    for block in sorted(_blocks(file, batch), key=lambda each: (each.last - each.first < end, -each.bytes, each.first)):
        at_once = [each for each in placed if each.first <= block.last and block.first <= each.last]
        for each in sorted(at_once, key=lambda other: other.start):
            if each.start - block.start >= block.bytes:
                break
            block.start = max(block.start, -(-(each.start + each.bytes) // ALIGNMENT) * ALIGNMENT)
        placed.append(block)
    return max((each.start + each.bytes for each in placed), default=0)


def _blocks(file: TFLiteFile, batch: int) -> list[_Block]:
    end = len(file.operations)
    blocks = {index: _Block(_bytes(file, index, batch), 0, end) for index in file.inputs}
    readers = Counter(index for operation in file.operations for index in operation.inputs)
    kept = {*file.inputs, *file.outputs}
    for step, operation in enumerate(file.operations):
        for source, output in product(operation.inputs, operation.outputs[:1]):
            in_place = operation.name in RELABELLING or (operation.name in OVERWRITING and readers[source] == 1)
            same = source in blocks and file.tensors[source].bytes == file.tensors[output].bytes
            if in_place and same and not kept & {source, output}:
                blocks.setdefault(output, blocks[source])
        for index in operation.outputs:
            blocks.setdefault(index, _Block(_bytes(file, index, batch), step, step))
        for index in {*operation.inputs, *operation.outputs} & blocks.keys():
            blocks[index].last = max(blocks[index].last, step)
    for index in blocks.keys() & set(file.outputs):
        blocks[index].last = end
    return list({id(block): block for block in blocks.values()}.values())


def _bytes(file: TFLiteFile, index: int, batch: int) -> int:
    tensor = file.tensors[index]
    return tensor.bytes * (batch if tensor.dynamic else 1)
