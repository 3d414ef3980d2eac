"""Small real files for tests, made in milliseconds without torch: linear classifiers and bundles of them.

A classifier computes logits = W x + b, x being the flattened NHWC image by the input convention, so a test knows
the answer from ``logits``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import Artifact, Dataset, FileEntry, Image, InputTensor, Manifest, Model, Sample
from edgecnn.runtime.preprocess import OutputSpec, normalize

IMAGE = (4, 4, 3)
CLASSES = 3
LABELS = ("ant", "bee", "cat")
WEIGHT_SCALE = 1 / 64
OUTPUT_SCALE = 0.25
FLOAT_FILE = "tiny.float32.tflite"
INT8_FILE = "tiny.static_w8a8.tflite"


def weights(seed: int = 0, image: tuple[int, int, int] = IMAGE, classes: int = CLASSES) -> np.ndarray:
    """Whole numbers [classes, height * width * channels]; the real weights are these times WEIGHT_SCALE."""
    return np.random.default_rng(seed).integers(-100, 101, (classes, int(np.prod(image)))).astype(np.int8)


def images(count: int, seed: int = 1, image: tuple[int, int, int] = IMAGE) -> np.ndarray:
    """Random uint8 images."""
    return np.random.default_rng(seed).integers(0, 256, (count, *image)).astype(np.uint8)


def logits(pictures: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What a float classifier of these weights must give."""
    return normalize(pictures).reshape(len(pictures), -1) @ (matrix.T * np.float32(WEIGHT_SCALE))


def tflite(
    path: Path,
    matrix: np.ndarray,
    *,
    image: tuple[int, int, int] = IMAGE,
    quantized: bool = False,
    batch: int | None = None,
    input_scale: float = 1 / 64,
    input_zero_point: int = 0,
) -> Path:
    """Write a one-layer .tflite; ``batch`` None makes it dynamic, a number fixes it by a RESHAPE, as exporters do."""
    kind = schema.TensorType.INT8 if quantized else schema.TensorType.FLOAT32
    values = matrix if quantized else matrix.astype(np.float32) * np.float32(WEIGHT_SCALE)
    classes = len(matrix)
    model = schema.ModelT()
    model.version = 3
    model.buffers = [_buffer(b""), _buffer(values.tobytes()), _buffer(bytes(4 * classes))]
    bias_kind = schema.TensorType.INT32 if quantized else schema.TensorType.FLOAT32
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("image", (batch, *image), kind, 0, (input_scale, input_zero_point) if quantized else None),
        _tensor("weights", matrix.shape, kind, 1, (WEIGHT_SCALE, 0) if quantized else None),
        _tensor("bias", (classes,), bias_kind, 2, (input_scale * WEIGHT_SCALE, 0) if quantized else None),
        _tensor("logits", (batch, classes), kind, 0, (OUTPUT_SCALE, 0) if quantized else None),
    ]
    layer = _operator(0, [0, 1, 2], 3, schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT())
    codes = [_code(schema.BuiltinOperator.FULLY_CONNECTED, 4 if quantized else 1)]
    graph.operators, graph.inputs, graph.outputs = [layer], [0], [3]
    if batch is not None:
        flat = (batch, matrix.shape[1])
        model.buffers.append(_buffer(np.array(flat, np.int32).tobytes()))
        graph.tensors.append(_tensor("flat shape", (2,), schema.TensorType.INT32, 3, None))
        graph.tensors.append(_tensor("flat", flat, kind, 0, (input_scale, input_zero_point) if quantized else None))
        codes.append(_code(schema.BuiltinOperator.RESHAPE, 1))
        reshape = _operator(1, [0, 4], 5, schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT())
        graph.operators, layer.inputs = [reshape, layer], [5, 1, 2]
    model.operatorCodes, model.subgraphs = codes, [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def bundle(folder: Path, *, count: int = 50, seed: int = 0, labels: tuple[str, ...] = LABELS) -> Path:
    """Write a bundle of the float and the static_w8a8 classifier; the sample is labelled by the float one."""
    folder.mkdir()
    matrix = weights(seed)
    pictures = images(count)
    truth = logits(pictures, matrix).argmax(1).astype(np.int64)
    tflite(folder / FLOAT_FILE, matrix)
    tflite(folder / INT8_FILE, matrix, quantized=True)
    np.savez(folder / "sample.npz", images=pictures, labels=truth)
    (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    manifest(folder, count).save(folder)
    return folder


def manifest(folder: Path, count: int) -> Manifest:
    """The manifest of the files that ``bundle`` writes."""
    quantized = InputTensor("NHWC", "int8", 1 / 64, 0)
    return Manifest(
        edgecnn="0.1.0",
        created="2026-01-31T12:00:00Z",
        model=Model("tiny", {"classes": CLASSES, "image": IMAGE}, 144, 144),
        dataset=Dataset("insects", "", CLASSES),
        input=Image(*IMAGE),
        recipe="static_w8a8",
        labels="labels.txt",
        sample=Sample("sample.npz", count),
        calibration=None,
        passes=("flatten_fold",),
        artifacts=(
            artifact(folder / FLOAT_FILE, "float32", InputTensor(), OutputSpec()),
            artifact(folder / INT8_FILE, "static_w8a8", quantized, OutputSpec("int8", OUTPUT_SCALE, 0)),
        ),
        files=(FileEntry.of(folder / "labels.txt"), FileEntry.of(folder / "sample.npz")),
        tools={"numpy": np.__version__},
    )


def artifact(path: Path, recipe: str, input: InputTensor, output: OutputSpec) -> Artifact:
    """The entry of a file that is there."""
    format = {"tflite": "tflite", "onnx": "onnx", "torchscript": "torchscript"}[path.suffix[1:]]
    return Artifact(path.name, format, recipe, path.stat().st_size, sha256(path), input, output)


def relist(folder: Path) -> None:
    """Bring sizes and digests in the manifest up to the files, as someone who tampers with a bundle would."""
    old = Manifest.load(folder)
    dataclasses.replace(
        old,
        artifacts=tuple(
            dataclasses.replace(entry, bytes=(folder / entry.file).stat().st_size, sha256=sha256(folder / entry.file))
            for entry in old.artifacts
        ),
        files=tuple(FileEntry.of(folder / entry.file) for entry in old.files),
    ).save(folder)


def _code(operator: int, version: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    return code


def _operator(code: int, inputs: list[int], output: int, kind: int, options: object) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, [output]
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


def _buffer(content: bytes) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8) if content else None
    return buffer


def _tensor(
    name: str, shape: tuple[int | None, ...], kind: int, buffer: int, quantization: tuple[float, int] | None
) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.buffer = name.encode(), kind, buffer
    tensor.shape = [1 if size is None else size for size in shape]
    if shape[0] is None:
        tensor.shapeSignature = [-1 if size is None else size for size in shape]
    if quantization is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [quantization[0]], [quantization[1]]
    return tensor
