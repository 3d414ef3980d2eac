"""Inner tensors have the values that arithmetic gives, and partitions are counted as the delegate made them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.internals import partitions, tensor_values
from edgecnn.runtime.preprocess import InputSpec, prepare
from tests import tiny_artifacts
from tests.tiny_artifacts import IMAGE, OUTPUT_SCALE, WEIGHT_SCALE

MATRIX = tiny_artifacts.weights()
IMAGES = tiny_artifacts.images(5)
INPUT, WEIGHTS, BIAS, LOGITS = range(4)


def chain(names: Iterable[str], offers_inner_tensor: bool = False) -> bytes:
    """A float file of operations in a row, on [1, 4]. XNNPACK takes TANH, but not SIGN and RELU_0_TO_1."""
    names = list(names)
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    model.operatorCodes = []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    for index in range(len(names) + 1):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{index}".encode(), [1, 4], schema.TensorType.FLOAT32
        graph.tensors.append(tensor)
    for index, name in enumerate(names):
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = getattr(schema.BuiltinOperator, name), 1
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        model.operatorCodes.append(code)
        operation = schema.OperatorT()
        operation.opcodeIndex, operation.inputs, operation.outputs = index, [index], [index + 1]
        graph.operators.append(operation)
    graph.inputs, graph.outputs = [0], [*([1] if offers_inner_tensor else []), len(names)]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_quantized_tensors_come_as_real_numbers_at_any_batch(tmp_path: Path) -> None:
    content = tiny_artifacts.tflite(tmp_path / "a.tflite", MATRIX, quantized=True).read_bytes()
    spec = InputSpec(*IMAGE, "NHWC", "int8", 1 / 64, 0)
    truth = tiny_artifacts.logits(IMAGES, MATRIX)
    for batch in (1, 5):
        values = tensor_values(content, prepare(IMAGES[:batch], spec), [INPUT, WEIGHTS, LOGITS])
        assert list(values) == [INPUT, WEIGHTS, LOGITS]
        assert {value.dtype for value in values.values()} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(values[INPUT], prepare(IMAGES[:batch], InputSpec(*IMAGE)))
        np.testing.assert_array_equal(values[WEIGHTS], MATRIX * np.float32(WEIGHT_SCALE))
        assert np.abs(values[LOGITS] - truth[:batch]).max() <= OUTPUT_SCALE / 2


def test_a_zero_point_is_taken_off(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", MATRIX, quantized=True, input_scale=0.5, input_zero_point=-128)
    tensor = np.arange(48, dtype=np.int8).reshape(1, *IMAGE)
    values = tensor_values(path.read_bytes(), tensor, [INPUT])
    np.testing.assert_array_equal(values[INPUT], (tensor.astype(np.float32) + 128) / 2)


def test_intermediate_values_are_those_of_every_operation() -> None:
    start = np.array([[-1.5, -0.2, 0.3, 2.0]], np.float32)
    values = tensor_values(chain(["TANH", "SIGN", "TANH", "TANH"]), start, range(5))
    expected = start
    for index, step in enumerate((None, np.tanh, np.sign, np.tanh, np.tanh)):
        expected = expected if step is None else step(expected)
        np.testing.assert_allclose(values[index], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "count", "outside"),
    [
        (["TANH"], 1, []),
        (["TANH", "TANH", "TANH"], 1, []),
        (["SIGN", "RELU_0_TO_1"], 0, ["SIGN", "RELU_0_TO_1"]),
        (["TANH", "SIGN", "TANH", "TANH"], 2, ["SIGN"]),
        (["TANH", "SIGN", "TANH", "RELU_0_TO_1", "SIGN", "TANH"], 3, ["SIGN", "RELU_0_TO_1", "SIGN"]),
    ],
)
@pytest.mark.parametrize("offers_inner_tensor", [False, True])
def test_partitions_and_what_is_left_outside(
    names: list[str], count: int, outside: list[str], offers_inner_tensor: bool
) -> None:
    assert partitions(chain(names, offers_inner_tensor)) == (count, outside)


def test_files_and_inputs_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    content = tiny_artifacts.tflite(tmp_path / "a.tflite", MATRIX, batch=1).read_bytes()
    good = np.zeros((1, *IMAGE), np.float32)
    for broken in (b"", b"junk" * 100, content[: len(content) // 2]):
        for call in (lambda: partitions(broken), lambda: tensor_values(broken, good, [LOGITS])):  # noqa: B023
            with pytest.raises(BadFileError, match=r"^[^\n]*cannot be run[^\n]*$"):
                call()
    for tensor, index in ((good.astype(np.int8), LOGITS), (np.zeros((2, *IMAGE), np.float32), LOGITS), (good, 99)):
        with pytest.raises(UsageError, match=r"^[^\n]*cannot be run on[^\n]*$"):
            tensor_values(content, tensor, [index])
