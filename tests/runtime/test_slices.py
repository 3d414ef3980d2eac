"""Slices run in the engine, and compute what the whole file computes up to there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.internals import tensor_values
from edgecnn.runtime.litert import open_content
from edgecnn.runtime.slices import alone, empty, prefix, prefixes
from edgecnn.runtime.tflite_file import read
from tests import tiny_graphs

ROW = np.array([[-1.5, -0.2, 0.3, 2.0]], np.float32)


def outputs(content: bytes, *inputs: np.ndarray, delegate: bool = True, real: bool = False) -> dict[str, np.ndarray]:
    """What a model gives, by the names of the tensors; with ``real``, what its integers stand for."""
    interpreter = open_content(content, delegate=delegate)
    for details, tensor in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.resize_tensor_input(details["index"], tensor.shape)
    interpreter.allocate_tensors()
    for details, tensor in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(details["index"], tensor)
    interpreter.invoke()
    found = {}
    for each in interpreter.get_output_details():
        scale, zero_point = each["quantization"]
        value = interpreter.get_tensor(each["index"])
        if real and scale:
            value = ((value.astype(np.float64) - zero_point) * scale).astype(np.float32)
        found[each["name"]] = value
    return found


def test_a_prefix_gives_what_later_operations_and_the_file_itself_need() -> None:
    content = tiny_graphs.skip_connection()
    file = read(content)
    given = [(operation.name, outputs(model, ROW)) for operation, model in prefixes(content)]
    assert [name for name, _ in given] == ["TANH", "SIGN", "ADD", "TANH"]
    assert [list(values) for _, values in given] == [["a"], ["b", "a"], ["b", "c"], ["d", "b"]]
    a, b = np.tanh(ROW), np.sign(ROW)
    expected = {"a": a, "b": b, "c": a + b, "d": np.tanh(a + b)}
    for _, values in given:
        for name, value in values.items():
            np.testing.assert_allclose(value, expected[name], atol=1e-6)
    assert prefix(file, 2) == list(prefixes(content))[1][1]


def test_one_operation_alone_takes_its_tensors_as_inputs() -> None:
    file = read(tiny_graphs.skip_connection())
    one, two = ROW, ROW * 10
    assert list(outputs(alone(file, 0), one)) == ["a"]
    (total,) = outputs(alone(file, 2), one, two).items()
    assert total[0] == "c"
    np.testing.assert_array_equal(total[1], one + two)


def test_weights_that_another_operation_unpacks_come_along() -> None:
    file = read(tiny_graphs.unpacked_weights())
    (logits,) = outputs(alone(file, 2), ROW).values()
    np.testing.assert_allclose(logits, ROW @ np.arange(12).reshape(3, 4).T + 1, rtol=1e-5)
    assert [each.name for each in read(alone(file, 2)).operations] == ["DEQUANTIZE", "FULLY_CONNECTED"]
    assert [each.name for each in read(alone(file, 1)).operations] == ["TANH"]


def test_an_empty_model_keeps_inputs_and_outputs() -> None:
    model = empty(read(tiny_graphs.skip_connection()))
    interpreter = open_content(model, delegate=True)
    assert [each["name"] for each in interpreter.get_input_details()] == ["image", "d", "b"]
    assert list(outputs(model, ROW, ROW + 1, ROW + 2)) == ["d", "b"]


@pytest.mark.parametrize("batch", [1, 5])
def test_an_int8_file_in_slices_is_the_whole_to_the_bit_at_any_batch(batch: int) -> None:
    content = tiny_graphs.classifier(quantized=True)
    tensor = np.random.default_rng(1).integers(-128, 128, (batch, 8, 8, 3)).astype(np.int8)
    file = read(content)
    inner = tensor_values(content, tensor, range(len(file.tensors)))
    for index, (operation, model) in enumerate(prefixes(content)):
        (found,) = outputs(model, tensor, delegate=False).values()
        np.testing.assert_array_equal(found * np.float32(1 / 64), inner[operation.outputs[0]])
        taken = [number for number in operation.inputs if not file.tensors[number].constant]
        before = np.rint(inner[taken[0]] * 64).astype(np.int8)
        (lonely,) = outputs(alone(file, index), before, delegate=False).values()
        np.testing.assert_array_equal(lonely, found)
    (whole,) = outputs(content, tensor).values()
    np.testing.assert_array_equal(outputs(model, tensor)["logits"], whole)


def test_signatures_and_metadata_are_dropped_and_nothing_else() -> None:
    from ai_edge_litert import schema_py_generated as schema

    content = tiny_graphs.classifier(quantized=True)
    before, after = (
        schema.ModelT.InitFromPackedBuf(each, 0) for each in (content, prefix(read(content), 2))
    )  # the schema's own code reads what we wrote
    assert (len(before.signatureDefs), len(before.metadata)) == (1, 1)
    assert not after.signatureDefs and not after.metadata
    assert len(after.subgraphs[0].operators) == 2

    def facts(model: Any) -> list[Any]:
        return [
            (each.name, list(each.shape), each.type, each.quantization and list(each.quantization.scale))
            for each in model.subgraphs[0].tensors
        ]

    assert facts(before) == facts(after)


def test_what_is_not_there_cannot_be_cut_out() -> None:
    file = read(tiny_graphs.skip_connection())
    for wrong in (lambda: prefix(file, 0), lambda: prefix(file, 5), lambda: alone(file, 4), lambda: alone(file, -1)):
        with pytest.raises(UsageError, match="in a file of 4"):
            wrong()
    with pytest.raises(BadFileError):
        list(prefixes(b"junk" * 50))
