"""What a .tflite file is made of, and what the engine makes of it; asked for when all timing is done."""

from __future__ import annotations

import re
from math import prod

from edgecnn.measure.measurement import Graph
from edgecnn.runtime.arena import arena_bytes
from edgecnn.runtime.internals import delegated
from edgecnn.runtime.tflite_file import Operation, TFLiteFile, read

# Values of the weights that go into one output value: which of the weights' dimensions.
_TAKEN = {"CONV_2D": slice(1, None), "DEPTHWISE_CONV_2D": slice(1, 3), "FULLY_CONNECTED": slice(1, None)}


def graph_of(content: bytes, batch: int = 1, engine: str | None = None) -> Graph:
    """The facts of a file; ``engine`` and errors are litert.open_content's."""
    file = read(content)
    count, inside = delegated(content, engine)
    names = [operation.name for operation in file.operations]
    outside = tuple(name for place, name in enumerate(names) if place not in inside)
    return Graph(tuple(names), outside, count, arena_bytes(file, batch))


def macs(file: TFLiteFile, operation: Operation) -> int | None:
    """Multiply-accumulates of an operation for one image, padding included; None for one that has no weights."""
    if operation.name not in _TAKEN or len(operation.inputs) < 2:
        return None
    weights, output = file.tensors[operation.inputs[1]], file.tensors[operation.outputs[0]]
    images = prod(file.tensors[file.inputs[0]].shape[:1])
    return prod(output.shape) // images * prod(weights.shape[_TAKEN[operation.name]])


def module(file: TFLiteFile, operation: Operation) -> str | None:
    """The name of the module of the PyTorch model that an operation comes from, if its tensors' names tell.

    edgecnn writes whole names: ``res1.conv1.weight`` for what a layer holds, and ``res1.conv1;conv_2d`` for what it
    gives. litert-torch alone names a tensor after what it comes from, ``Wrapper/torch.nn.modules.conv.Conv2d_conv1;1``,
    by the last part of the module's name, and an output after everything that was fused into it; so the weights tell
    best.
    """
    return full_name(file, operation) or _last_part(file, operation)


def full_name(file: TFLiteFile, operation: Operation) -> str | None:
    """``module`` for files that hold whole names; None for all others."""
    for index in operation.inputs[1:2]:
        # Weights of fewer bits come through a DEQUANTIZE, whose name has more behind.
        name, mark, _ = file.tensors[index].name.rpartition(".weight") if index >= 0 else ("", "", "")
        if mark:
            return name
    for index in operation.outputs[:1]:
        name, mark, kind = file.tensors[index].name.partition(";")
        if name and mark and kind.split(";")[0] == operation.name.lower():
            return name
    return None


def _last_part(file: TFLiteFile, operation: Operation) -> str | None:
    for index in (*operation.inputs[1:2], *operation.outputs[:1]):
        for part in file.tensors[index].name.split(";") if index >= 0 else []:
            found = re.search(r"/[\w.]*\.[^\W_]+_(\w+)$", part)
            if found and (file.tensors[index].constant or index in operation.outputs):
                return found[1]
    return None
