"""Types and scales that no kernel is made for are refused: LiteRT would read or write beside its tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecnn.errors import BadFileError
from edgecnn.runtime.tflite_verifier import verify
from tests import tiny_graphs
from tests.tiny_graphs import Value, constant, rewritten

ROW, GRID = Value((1, 4)), (0.1, 0)
SMALL, WIDE = Value((1, 4), "int8", grid=GRID), Value((1, 4), "int16", grid=GRID)
SHAPE = constant(np.array([1, 4], np.int32))
AXIS = constant(np.array([1], np.int32))


def refused(content: bytes) -> str:
    with pytest.raises(BadFileError) as caught:
        verify(content)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "image", "more", "result", "reason"),
    [
        ("RESHAPE", ROW, [SHAPE], SMALL, "RESHAPE: int8 beside float32"),
        ("RESHAPE", ROW, [SHAPE], Value((1, 4), "bool"), "RESHAPE: bool beside float32"),
        ("RESHAPE", SMALL, [SHAPE], ROW, "RESHAPE: float32 beside int8"),
        ("TANH", ROW, [], SMALL, "TANH: int8 beside float32"),
        ("SOFTMAX", ROW, [], SMALL, "SOFTMAX: int8 beside float32"),
        ("TANH", Value((1, 4), "float16"), [], Value((1, 4), "float16"), "TANH: a tensor of float16 (valid: float32"),
        ("SUM", ROW, [AXIS], Value((1,), "int8", grid=GRID), "SUM: int8 beside float32"),
        ("ADD", ROW, [SMALL], ROW, "ADD: int8 beside float32"),
        ("ADD", SMALL, [SMALL], WIDE, "ADD: int16 beside int8"),
        ("QUANTIZE", ROW, [], ROW, "QUANTIZE: a tensor of float32 (valid: int8"),
        ("DEQUANTIZE", SMALL, [], Value((1, 4), "float16"), "DEQUANTIZE: a tensor of float16 (valid: float32)"),
        ("DEQUANTIZE", ROW, [], ROW, "DEQUANTIZE: a tensor of float32 (valid: float16"),
        ("CAST", Value((1, 4), "bool"), [], ROW, "CAST: a tensor of bool"),
        ("TANH", ROW, [], ROW, ""),
        ("RESHAPE", SMALL, [SHAPE], SMALL, ""),
        ("ADD", WIDE, [WIDE], WIDE, ""),
        ("QUANTIZE", ROW, [], SMALL, ""),
        ("DEQUANTIZE", SMALL, [], ROW, ""),
        ("CAST", ROW, [], Value((1, 4), "int32"), ""),
    ],
)
def test_an_operation_has_types_that_go_together(
    name: str, image: Value, more: list[Value], result: Value, reason: str
) -> None:
    values = {"image": image, **{f"x{place}": value for place, value in enumerate(more)}, "y": result}
    *taken, given = values
    inputs = [each for each in taken if values[each].values is None]
    content = tiny_graphs.file(values, [(name, taken, [given])], [given], inputs)
    if reason:
        assert reason in refused(content)
    else:
        verify(content)


def layer(weights: str, scales: int, axis: int, image: str = "float32", bias: str = "float32") -> bytes:
    """A fully connected layer of 4 values and 6 units, with so many scales of its weights along an axis."""
    grid = None if image == "float32" else GRID
    values = {
        "image": Value((1, 4), image, grid=grid), "y": Value((1, 6), image, grid=grid),
        "bias": constant(np.zeros(6, bias)),
        "weights": Value((6, 4), weights, np.ones((6, 4), weights), None if weights == "float32" else GRID),
    }  # fmt: skip
    content = tiny_graphs.file(values, [("FULLY_CONNECTED", ["image", "weights", "bias"], ["y"])], ["y"])

    def change(model: Any) -> None:
        model.subgraphs[0].tensors[3].quantization = grids = schema.QuantizationParametersT()
        grids.scale, grids.zeroPoint = np.full(scales, 0.1, np.float32), np.zeros(scales, np.int64)
        grids.quantizedDimension = axis

    return rewritten(content, change) if weights != "float32" else content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (layer("int8", 4, 1), "4 scales for 6 filters"),
        (layer("int8", 6, 0), ""),
        (layer("int8", 1, 0), ""),
        (layer("float32", 0, 0), ""),
        (layer("int8", 6, 0, "int8", "int32"), ""),
        (layer("int8", 6, 0, "int16", "int64"), ""),
        (layer("int16", 6, 0), "types float32, int16, float32, float32 of image, weights, bias and output"),
        (layer("int8", 6, 0, "int8", "float32"), "types int8, int8, float32, int8 of image"),
        (layer("int8", 6, 0, "int16", "int32"), "types int16, int8, int32, int16 of image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layer_has_a_kernel_and_a_scale_for_each_filter(content: bytes, reason: str) -> None:
    if reason:
        assert reason in refused(content)
    else:
        verify(content)


@pytest.mark.parametrize(("scales", "good"), [(4, True), (1, False)])
def test_a_depthwise_layer_under_a_float_image_needs_them_all(scales: int, good: bool) -> None:
    values = {
        "image": Value((1, 4, 4, 4)), "bias": constant(np.zeros(4, np.float32)), "y": Value((1, 2, 2, 4)),
        "weights": Value((1, 3, 3, 4), "int8", np.ones((1, 3, 3, 4), np.int8), GRID),
    }  # fmt: skip
    content = tiny_graphs.file(values, [("DEPTHWISE_CONV_2D", ["image", "weights", "bias"], ["y"])], ["y"])

    def change(model: Any) -> None:
        grids = model.subgraphs[0].tensors[3].quantization
        grids.scale, grids.zeroPoint = np.full(scales, 0.1, np.float32), np.zeros(scales, np.int64)
        grids.quantizedDimension = 3

    content = rewritten(content, change)
    if good:
        verify(content)
    else:
        assert "1 scales for 4 filters" in refused(content)
