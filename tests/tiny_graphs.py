"""Small real .tflite files with more than one operation, made in milliseconds without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OPTIONS: dict[str, Any] = {
    "ADD": schema.AddOptionsT, "FULLY_CONNECTED": schema.FullyConnectedOptionsT, "RESHAPE": schema.ReshapeOptionsT,
    "AVERAGE_POOL_2D": schema.Pool2DOptionsT, "CONV_2D": schema.Conv2DOptionsT,
    "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT,
}  # fmt: skip
VERSIONS = {"FULLY_CONNECTED": 4, "AVERAGE_POOL_2D": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 3}


@dataclass(frozen=True)
class Value:
    """A tensor: its shape and type, its values if it is a constant, its (scale, zero point) if it is quantized."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    values: np.ndarray | None = None
    grid: tuple[float, int] | None = None


def constant(values: np.ndarray, grid: tuple[float, int] | None = None) -> Value:
    """A tensor that holds these values."""
    return Value(values.shape, values.dtype.name, values, grid)


Step = tuple[str, Sequence[str], Sequence[str]]


def file(
    values: Mapping[str, Value], steps: Sequence[Step], outputs: Sequence[str], inputs: Sequence[str] = ("image",)
) -> bytes:
    """A file of steps (operation, names of its inputs, of its outputs), with a signature and metadata to drop."""
    names, model = list(values), schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [_tensor(model, name, value) for name, value in values.items()], []
    for name, taken, given in steps:
        code, operation = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode, code.version = getattr(schema.BuiltinOperator, name), VERSIONS.get(name, 1)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operation.opcodeIndex = len(model.operatorCodes)
        operation.inputs, operation.outputs = [names.index(each) for each in taken], [names.index(e) for e in given]
        if name in OPTIONS:
            operation.builtinOptions = OPTIONS[name]()
            kind = OPTIONS[name].__name__.removesuffix("T")
            operation.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        if name in ("AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D"):
            operation.builtinOptions.padding = schema.Padding.VALID
            operation.builtinOptions.strideH = operation.builtinOptions.strideW = 2 if "POOL" in name else 1
        if name == "AVERAGE_POOL_2D":
            operation.builtinOptions.filterHeight = operation.builtinOptions.filterWidth = 2
        if name == "DEPTHWISE_CONV_2D":
            operation.builtinOptions.depthMultiplier = 1
        model.operatorCodes.append(code)
        graph.operators.append(operation)
    graph.inputs, graph.outputs = ([names.index(each) for each in group] for group in (inputs, outputs))
    model.subgraphs = [graph]
    model.signatureDefs, model.metadata = [_signature(graph)], [_metadata()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def rewritten(content: bytes, change: Callable[[Any], None]) -> bytes:
    """The file after ``change`` has had its model, in the schema's own objects."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def skip_connection() -> bytes:
    """Float [1, 4]: a = tanh(image), b = sign(a), c = a + b, d = tanh(c); outputs d and b."""
    row = Value((1, 4))
    steps: list[Step] = [
        ("TANH", ["image"], ["a"]), ("SIGN", ["a"], ["b"]), ("ADD", ["a", "b"], ["c"]), ("TANH", ["c"], ["d"]),
    ]  # fmt: skip
    return file(dict.fromkeys(("image", "a", "b", "c", "d"), row), steps, ["d", "b"])


def unpacked_weights() -> bytes:
    """Float [1, 4] -> [1, 3]: the float16 weights of the second operation are unpacked by the first."""
    weights = np.arange(12, dtype=np.float16).reshape(3, 4)
    values = {
        "image": Value((1, 4)), "packed": constant(weights), "weights": Value((3, 4)), "twice": Value((1, 4)),
        "logits": Value((1, 3)), "bias": constant(np.ones(3, np.float32)),
    }  # fmt: skip
    steps: list[Step] = [
        ("DEQUANTIZE", ["packed"], ["weights"]), ("TANH", ["image"], ["twice"]),
        ("FULLY_CONNECTED", ["twice", "weights", "bias"], ["logits"]),
    ]  # fmt: skip
    return file(values, steps, ["logits"])


def classifier(quantized: bool, size: int = 8) -> bytes:
    """[1, size, size, 3] -> convolution 3x3 -> average pool -> 3 classes; XNNPACK leaves an int8 average pool outside.

    Made up of small whole numbers, so that int8 and float need no calibration.
    """
    dtype = "int8" if quantized else "float32"
    random = np.random.default_rng(0)
    inner, pooled = size - 2, (size - 2) // 2
    grid = (1 / 64, 0)

    def value(*shape: int) -> Value:
        return Value(shape, dtype, None, grid if quantized else None)

    def weights(*shape: int) -> Value:
        whole = random.integers(-8, 9, shape)
        return constant(whole.astype(dtype) if quantized else (whole / 64).astype(dtype), grid if quantized else None)

    def bias(count: int) -> Value:
        return constant(np.zeros(count, np.int32 if quantized else np.float32), (1 / 4096, 0) if quantized else None)

    values = {
        "image": value(1, size, size, 3), "my.Wrapper/torch.nn.Conv2d_conv1;1": value(1, inner, inner, 4),
        "w1": weights(4, 3, 3, 3), "b1": bias(4), "my.Wrapper/torch.nn.AvgPool2d_pool1;": value(1, pooled, pooled, 4),
        "shape": constant(np.array([-1, 4 * pooled * pooled], np.int32)), "flat": value(1, 4 * pooled * pooled),
        "w2": weights(3, 4 * pooled * pooled), "b2": bias(3), "logits": value(1, 3),
    }  # fmt: skip
    names = list(values)
    steps: list[Step] = [
        ("CONV_2D", ["image", "w1", "b1"], [names[1]]), ("AVERAGE_POOL_2D", [names[1]], [names[4]]),
        ("RESHAPE", [names[4], "shape"], ["flat"]), ("FULLY_CONNECTED", ["flat", "w2", "b2"], ["logits"]),
    ]  # fmt: skip
    return file(values, steps, ["logits"])


def _tensor(model: Any, name: str, value: Value) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape = name.encode(), list(value.shape)
    tensor.type = getattr(schema.TensorType, value.dtype.upper())
    if value.values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.values.tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    elif len(value.shape) > 1:
        tensor.shapeSignature = [-1, *value.shape[1:]]
    if value.grid is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [value.grid[0]], [value.grid[1]]
    return tensor


def _signature(graph: Any) -> Any:
    signature, tensor = schema.SignatureDefT(), schema.TensorMapT()
    signature.signatureKey, signature.subgraphIndex = b"serve", 0
    tensor.name, tensor.tensorIndex = b"last", graph.outputs[0]
    first = schema.TensorMapT()
    first.name, first.tensorIndex = b"first", graph.inputs[0]
    signature.inputs, signature.outputs = [first], [tensor]
    return signature


def _metadata() -> Any:
    metadata = schema.MetadataT()
    metadata.name, metadata.buffer = b"made by", 0
    return metadata
