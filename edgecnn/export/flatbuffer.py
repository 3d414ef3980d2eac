"""Reading and mending TFLite flatbuffers: operations, scales, and the batch dimension."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecnn.errors import CheckFailedError
from edgecnn.export.sharing import SharingBuilder
from edgecnn.runtime.tflite_file import BATCHES

_OPERATION_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
LAYER_OPERATIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_FILE_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Layer:
    """A convolution or fully connected operation of a quantized or float file.

    ``weight`` is the stored array, also where a DEQUANTIZE expands it, ``bias`` that of the bias, empty where there is
    none; ``output`` the index of the output tensor. Scales are per tensor for the input and per output channel for
    weight and bias; empty for float tensors.
    """

    operation: str
    weight: np.ndarray
    output: int
    input_scale: np.ndarray
    weight_scale: np.ndarray
    bias_scale: np.ndarray
    bias: np.ndarray

    def bias_scale_error(self) -> float:
        """Largest relative difference of bias_scale from input_scale * weight_scale; 0 for a layer without them.

        An integer kernel adds the bias to products of input and weight, so any other scale is a wrong result
        (TFLite 8-bit quantization specification).
        """
        if not len(self.bias_scale):
            return 0.0
        expected = self.input_scale * self.weight_scale
        return float(np.max(np.abs(self.bias_scale / expected - 1)))


class TFLiteGraph:
    """The main subgraph of a TFLite file, unpacked into objects that can be edited."""

    def __init__(self, content: bytes) -> None:
        self.model = schema.ModelT.InitFromPackedBuf(content, 0)
        self.subgraph = self.model.subgraphs[0]
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in self.model.operatorCodes]
        self.names = [_OPERATION_NAMES[codes[operation.opcodeIndex]] for operation in self.subgraph.operators]

    def to_bytes(self) -> bytes:
        """The file with all edits; equal vectors are stored once."""
        builder = SharingBuilder(1 << 20)
        builder.Finish(self.model.Pack(builder), _FILE_IDENTIFIER)
        return bytes(builder.Output())

    def operations(self) -> Counter[str]:
        """How often each operation occurs."""
        return Counter(self.names)

    def float_operations(self) -> list[str]:
        """Names of the operations that compute in float, in the order of execution: not those that only convert."""
        tensors = self.subgraph.tensors
        return [
            name
            for name, operation in zip(self.names, self.subgraph.operators, strict=True)
            if name != "DEQUANTIZE" and tensors[operation.outputs[0]].type == schema.TensorType.FLOAT32
        ]

    def activations(self) -> dict[int, str]:
        """Names of the tensors that hold values of an image, by index."""
        return {
            index: tensor.name.decode()
            for index, tensor in enumerate(self.subgraph.tensors)
            if self.model.buffers[tensor.buffer].data is None
        }

    def layers(self) -> Iterator[Layer]:
        """Convolutions and fully connected operations in the order of execution."""
        named = list(zip(self.names, self.subgraph.operators, strict=True))
        expanded = {int(each.outputs[0]): int(each.inputs[0]) for name, each in named if name == "DEQUANTIZE"}
        for name, operation in named:
            if name not in LAYER_OPERATIONS:
                continue
            source, weight, bias = (int(index) for index in [*operation.inputs, -1][:3])
            weight = expanded.get(weight, weight)
            yield Layer(
                name,
                self._constant(weight),
                int(operation.outputs[0]),
                self._scales(source),
                self._scales(weight),
                self._scales(bias) if bias >= 0 else np.empty(0),
                self._constant(bias) if bias >= 0 else np.empty(0),
            )

    def halve_weights(self, names: Collection[str]) -> None:
        """Store the int8 tensors called ``names`` as INT4, two values to a byte, the first in the lower half.

        Raises CheckFailedError, and changes nothing, for a name that no tensor has and for values that do not fit.
        """
        found = {tensor.name.decode(): index for index, tensor in enumerate(self.subgraph.tensors)}
        lost = [name for name in names if name not in found]
        if lost:
            raise CheckFailedError(f"the converted file has no tensor '{lost[0]}' to store in 4 bits")
        values = {name: self._constant(found[name]) for name in names}
        wide = [
            name for name, each in values.items() if each.dtype != np.int8 or np.abs(each, dtype=np.int16).max() > 7
        ]
        if wide:
            raise CheckFailedError(f"the values of '{wide[0]}' in the converted file do not fit into 4 bits")
        for name, each in values.items():
            tensor = self.subgraph.tensors[found[name]]
            old = tensor.buffer
            buffer = schema.BufferT()
            buffer.data = pack(each)
            self.model.buffers.append(buffer)  # a new one: the old may be shared
            tensor.buffer, tensor.type = len(self.model.buffers) - 1, schema.TensorType.INT4
            if all(other.buffer != old for other in self.subgraph.tensors):
                self.model.buffers[old].data = None

    def take_out(self, name: str) -> None:
        """Remove every operation called ``name``, each of one input: what it gave is what it took.

        The operation and its tensors leave no trace, since an engine may refuse what it does not know even unused.
        """
        if name not in self.names:
            return
        given: dict[int, int] = {}
        for each, operation in zip(self.names, self.subgraph.operators, strict=True):
            operation.inputs = [given.get(int(index), int(index)) for index in operation.inputs]
            if each == name:
                given[int(operation.outputs[0])] = operation.inputs[0]
        self.subgraph.outputs = [given.get(int(index), int(index)) for index in self.subgraph.outputs]
        kept = [each != name for each in self.names]
        self.subgraph.operators = list(compress(self.subgraph.operators, kept))
        self.names = list(compress(self.names, kept))
        self._drop_codes()
        self._drop_tensors(given)

    def _drop_codes(self) -> None:
        used = sorted({operation.opcodeIndex for operation in self.subgraph.operators})
        self.model.operatorCodes = [self.model.operatorCodes[index] for index in used]
        for operation in self.subgraph.operators:
            operation.opcodeIndex = used.index(operation.opcodeIndex)

    def _drop_tensors(self, stands_for: Mapping[int, int]) -> None:
        """Remove the tensors that are keys of ``stands_for``; callers get the ones they stand for."""
        kept = [index for index in range(len(self.subgraph.tensors)) if index not in stands_for]
        place = {index: position for position, index in enumerate(kept)} | {-1: -1}
        self.subgraph.tensors = [self.subgraph.tensors[index] for index in kept]
        for each in (self.subgraph, *self.subgraph.operators):
            each.inputs = [place[int(index)] for index in each.inputs]
            each.outputs = [place[int(index)] for index in each.outputs]
        for signature in self.model.signatureDefs or ():
            for door in (*signature.inputs, *signature.outputs):
                door.tensorIndex = place[stands_for.get(door.tensorIndex, door.tensorIndex)]

    def make_batch_dynamic(self) -> None:
        """Let an interpreter resize the first dimension of every activation (exported as 1, or as 2 if mirrored)."""
        for position, (name, operation) in enumerate(zip(self.names, self.subgraph.operators, strict=True)):
            if name == "RESHAPE":
                shape = self._constant(operation.inputs[1]).copy()
                shape[0] = -1
                # A new buffer: the old may be shared.
                self.subgraph.tensors[operation.inputs[1]].buffer = self._add_buffer(shape)
                if operation.builtinOptions is not None:
                    operation.builtinOptions.newShape = shape.tolist()
            elif name == "SLICE":
                self._as_strided(operation)
                self.names[position] = "STRIDED_SLICE"
            elif name == "STRIDED_SLICE":
                operation.builtinOptions.endMask |= 1
        for tensor in self.subgraph.tensors:
            activation = self.model.buffers[tensor.buffer].data is None and tensor.shape is not None
            if activation and len(tensor.shape) >= 2 and tensor.shape[0] in BATCHES:
                tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)

    def _as_strided(self, operation: schema.OperatorT) -> None:
        """A SLICE with constant places as STRIDED_SLICE, which can say "to the end" and stay in XNNPACK's partition."""
        begin, size = (self._constant(index).astype(np.int32) for index in operation.inputs[1:3])
        places = [begin, begin + size, np.ones_like(begin)]
        operation.inputs = np.array([operation.inputs[0], *map(self._add_constant, places)], np.int32)
        operation.opcodeIndex = self._code_of("STRIDED_SLICE")
        operation.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions
        operation.builtinOptions = schema.StridedSliceOptionsT()
        operation.builtinOptions.endMask = 1

    def _code_of(self, name: str) -> int:
        """Index of an operation among those that the file declares; declared if it was not."""
        value = getattr(schema.BuiltinOperator, name)
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == value:
                return index
        added = schema.OperatorCodeT()
        added.builtinCode = added.deprecatedBuiltinCode = value
        added.version = 2  # int8
        self.model.operatorCodes.append(added)
        return len(self.model.operatorCodes) - 1

    def _add_constant(self, values: np.ndarray) -> int:
        """A new constant tensor of int32 [n]; gives its index."""
        tensor = schema.TensorT()
        tensor.buffer, tensor.type = self._add_buffer(values.astype(np.int32)), schema.TensorType.INT32
        tensor.shape, tensor.name = np.array(values.shape, np.int32), b""
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def _add_buffer(self, values: np.ndarray) -> int:
        """A new buffer with the bytes of ``values``; gives its index."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def _constant(self, index: int) -> np.ndarray:
        tensor = self.subgraph.tensors[index]
        kinds = {
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.FLOAT16: np.float16,
            schema.TensorType.INT8: np.int8,
            schema.TensorType.INT32: np.int32,
            schema.TensorType.INT64: np.int64,
        }
        data = self.model.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.INT4:
            return unpack(np.asarray(data, np.uint8), tensor.shape)
        if data is None:
            return np.empty(0, kinds[tensor.type])
        return np.frombuffer(bytes(data), kinds[tensor.type]).reshape(tensor.shape)

    def _scales(self, index: int) -> np.ndarray:
        quantization = self.subgraph.tensors[index].quantization
        scale = None if quantization is None else quantization.scale
        return np.empty(0) if scale is None else np.asarray(scale, np.float64)


def pack(values: np.ndarray) -> np.ndarray:
    """Integers in -8..7 as uint8 [half as many, rounded up]: two to a byte, the first in the lower four bits."""
    flat = values.astype(np.uint8).reshape(-1) & 15
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    packed: np.ndarray = flat[0::2] | flat[1::2] << 4
    return packed


def unpack(packed: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The inverse of ``pack``, as int8 of a shape."""
    signed = packed.view(np.int8)
    both = np.stack([signed << 4 >> 4, signed >> 4], axis=1).reshape(-1)
    values: np.ndarray = both[: math.prod(shape)].reshape(shape)
    return values
