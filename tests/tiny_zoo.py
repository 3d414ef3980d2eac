"""A small bundle with many kinds of operations, for the fuzzer: ``python -m tests.tiny_zoo FOLDER`` writes it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecnn.runtime.manifest import FileEntry, Image, InputTensor, Manifest
from edgecnn.runtime.preprocess import OutputSpec
from tests import tiny_artifacts
from tests.tiny_graphs import Step, Value, constant, file, rewritten

GRID = (1 / 64, 0)
SIZE = 8


def network(quantized: bool) -> bytes:
    """[1, 8, 8, 3] -> 3 classes by way of 16 operations."""
    dtype, dice = "int8" if quantized else "float32", np.random.default_rng(0)

    def value(*shape: int) -> Value:
        return Value(shape, dtype, None, GRID if quantized else None)

    def weights(*shape: int) -> Value:
        whole = dice.integers(-8, 9, shape)
        return constant(whole.astype(dtype) if quantized else (whole / 64).astype(dtype), GRID if quantized else None)

    def bias(count: int) -> Value:
        return constant(np.zeros(count, np.int32 if quantized else np.float32), (1 / 4096, 0) if quantized else None)

    def whole(*numbers: object) -> Value:
        return constant(np.array(numbers, np.int32))

    values = {
        "image": value(1, SIZE, SIZE, 3), "w1": weights(4, 3, 3, 3), "b1": bias(4), "conv": value(1, 6, 6, 4),
        "bent": value(1, 6, 6, 4), "pads": whole([0, 0], [1, 1], [1, 1], [0, 0]), "padded": value(1, 8, 8, 4),
        "w2": weights(1, 3, 3, 4), "b2": bias(4), "deep": value(1, 6, 6, 4), "sum": value(1, 6, 6, 4),
        "both": value(1, 6, 6, 8), "order": whole(0, 2, 1, 3), "turned": value(1, 6, 6, 8),
        "from": whole(0, 1, 1, 0), "size": whole(-1, 4, 4, -1), "cut": value(1, 4, 4, 8), "from2": whole(0, 0, 0, 0),
        "to2": whole(1, 4, 4, 8), "by2": whole(1, 2, 2, 1), "strided": value(1, 2, 2, 8), "pool": value(1, 1, 1, 8),
        "wide": whole(3, 3), "grown": value(1, 3, 3, 8), "axes": whole(1, 2), "mean": value(1, 8),
        "scale": weights(8), "scaled": value(1, 8), "shape": whole(-1, 8), "flat": value(1, 8),
        "less": value(1, 8), "w3": weights(3, 8), "b3": bias(3), "logits": value(1, 3),
    }  # fmt: skip
    steps: list[Step] = [
        ("CONV_2D", ["image", "w1", "b1"], ["conv"]), ("HARD_SWISH", ["conv"], ["bent"]),
        ("PAD", ["bent", "pads"], ["padded"]), ("DEPTHWISE_CONV_2D", ["padded", "w2", "b2"], ["deep"]),
        ("ADD", ["deep", "bent"], ["sum"]), ("CONCATENATION", ["sum", "deep"], ["both"]),
        ("TRANSPOSE", ["both", "order"], ["turned"]), ("SLICE", ["turned", "from", "size"], ["cut"]),
        ("STRIDED_SLICE", ["cut", "from2", "to2", "by2"], ["strided"]), ("AVERAGE_POOL_2D", ["strided"], ["pool"]),
        ("RESIZE_BILINEAR", ["pool", "wide"], ["grown"]), ("MEAN", ["grown", "axes"], ["mean"]),
        ("MUL", ["mean", "scale"], ["scaled"]), ("RESHAPE", ["scaled", "shape"], ["flat"]),
        ("MAXIMUM", ["flat", "scale"], ["less"]), ("FULLY_CONNECTED", ["less", "w3", "b3"], ["logits"]),
    ]  # fmt: skip
    return rewritten(file(values, steps, ["logits"]), _with_options)


def _with_options(model: Any) -> None:
    rows = schema.ConcatenationOptionsT()
    rows.axis = 3
    operator = model.subgraphs[0].operators[5]
    operator.builtinOptions, operator.builtinOptionsType = rows, schema.BuiltinOptions.ConcatenationOptions
    for number, options, kind in ((11, schema.ReducerOptionsT(), "Reducer"), (12, schema.MulOptionsT(), "Mul")):
        operator = model.subgraphs[0].operators[number]
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")


def bundle(folder: Path) -> Path:
    """Write the bundle, of a float and a static_w8a8 file."""
    folder.mkdir()
    (folder / tiny_artifacts.FLOAT_FILE).write_bytes(network(False))
    (folder / tiny_artifacts.INT8_FILE).write_bytes(network(True))
    (folder / "labels.txt").write_text("\n".join(tiny_artifacts.LABELS) + "\n")
    (folder / "sample.npz").write_bytes(b"none")
    whole = tiny_artifacts.manifest(folder, 1)
    manifest: Manifest = dataclasses.replace(
        whole, input=Image(SIZE, SIZE, 3), sample=None, files=(FileEntry.of(folder / "labels.txt"),),
        artifacts=(
            tiny_artifacts.artifact(folder / tiny_artifacts.FLOAT_FILE, "float32", InputTensor(), OutputSpec()),
            tiny_artifacts.artifact(
                folder / tiny_artifacts.INT8_FILE, "static_w8a8", InputTensor("NHWC", "int8", *GRID),
                OutputSpec("int8", *GRID),
            ),
        ),
    )  # fmt: skip
    (folder / "sample.npz").unlink()
    manifest.save(folder)
    return folder


if __name__ == "__main__":
    bundle(Path(sys.argv[1]))
