"""Good files pass the verifier; whatever is wrong with one is found, and said in one line, before an engine sees it."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from benchmarks.mutations import TFLite, places
from edgecnn.errors import BadFileError
from edgecnn.runtime import tflite_tables
from edgecnn.runtime.tflite_file import NAMES
from edgecnn.runtime.tflite_shapes import RULES, ShapeError, Step, Taken, check_shapes
from edgecnn.runtime.tflite_tables import OPTIONS, TABLES
from edgecnn.runtime.tflite_verifier import read_verified, verify
from tests import tiny_artifacts, tiny_graphs
from tests.tiny_graphs import Value, constant, rewritten

GOOD = tiny_graphs.classifier(quantized=True)


def refused(content: bytes) -> str:
    """The one line about a bad file."""
    with pytest.raises(BadFileError) as caught:
        verify(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_good_files_pass(tmp_path: Path) -> None:
    for quantized in (False, True):
        verify(tiny_graphs.classifier(quantized))
        for batch in (None, 1):
            path = tiny_artifacts.tflite(tmp_path / "a", tiny_artifacts.weights(), quantized=quantized, batch=batch)
            assert read_verified(path) == path.read_bytes()


def test_two_values_of_four_bits_are_a_byte() -> None:
    def packed(model: Any) -> None:
        weights = graph(model).tensors[2]
        weights.type = schema.TensorType.INT4
        model.buffers[weights.buffer].data = np.zeros(int(np.prod(weights.shape)) // 2, np.uint8)

    verify(rewritten(GOOD, packed))


def test_the_tables_are_those_of_the_schema() -> None:
    """Each list of fields names a table, and each kind of options an operation, that the schema has."""
    kinds = {number: name for name, number in vars(schema.BuiltinOptions).items() if isinstance(number, int)}
    for number, (operations, fields) in OPTIONS.items():
        assert set(operations.split()) <= set(RULES)
        known = [name for name in vars(getattr(schema, f"{kinds[number]}T")()) if name != "quantSpec"]
        assert len([form for form in fields if form]) <= len(known), kinds[number]
    assert set(RULES) <= set(NAMES)
    for name in TABLES:
        assert hasattr(schema, {"Quantization": "QuantizationParameters"}.get(name, name))


def graph(model: Any) -> Any:
    return model.subgraphs[0]


def set_to(path: str, value: object) -> Callable[[Any], None]:
    """A change of one field of the first graph, or with a leading dot of the model: ``operators.0.inputs`` ..."""

    def change(model: Any) -> None:
        *way, last = path.strip(".").split(".")
        spot = model if path.startswith(".") else graph(model)
        for step in way:
            spot = spot[int(step)] if step.isdigit() else getattr(spot, step)
        setattr(spot, last, value)

    return change


def custom(model: Any) -> None:
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = NAMES.index("CUSTOM")


def while_loop(model: Any) -> None:
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = NAMES.index("WHILE")


def second_graph(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def no_scale(model: Any) -> None:
    graph(model).tensors[0].quantization = None


def unknown_options(model: Any) -> None:
    reshape = graph(model).operators[2]
    reshape.builtinOptionsType, reshape.builtinOptions = 120, None


def short_values(model: Any) -> None:
    model.buffers[graph(model).tensors[2].buffer].data = np.zeros(5, np.uint8)


def backwards(model: Any) -> None:
    graph(model).operators.reverse()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_to(".version", 2), "its version is 2, not 3"),
        (second_graph, "it has 2 graphs"),
        (custom, "CUSTOM: it is none of the"),
        (while_loop, "WHILE: it is none of the"),
        (no_scale, "a tensor of int8 has no scale"),
        (unknown_options, "RESHAPE: it has options of kind 120, which no image classifier needs"),
        (short_values, "has 5 bytes of values"),
        (backwards, "takes a tensor that nothing has made yet"),
        (set_to("operators.0.inputs", [0, 2, 99]), "a tensor that is used is not there"),
        (set_to("operators.0.inputs", [0, 2, -1]), "CONV_2D: input 2 is missing"),
        (set_to("operators.0.inputs", [0, 2]), "CONV_2D: input 2 is missing"),
        (set_to("operators.3.inputs", [6, 7, -1]), ""),
        (set_to("operators.3.inputs", [6, 7]), ""),
        (set_to("operators.0.inputs", [-1, 2, 3]), "input 0 is missing"),
        (set_to("operators.0.inputs", [0]), "input 1 is missing"),
        (set_to("operators.0.outputs", [0]), "writes a tensor that is there already"),
        (set_to("operators.0.outputs", [2]), "writes a tensor that is there already"),
        (set_to("operators.0.outputs", [1, 1]), "writes a tensor that is there already"),
        (set_to("inputs", [0, 0]), "an input is a constant, or is one twice"),
        (set_to("inputs", [2]), "an input is a constant"),
        (set_to("outputs", [8, 0]), ""),
        (set_to("operators.0.builtinOptions.strideH", 0), "a stride, window or dilation is 0"),
        (set_to("operators.0.builtinOptions.strideW", -1), "a stride, window or dilation is -1"),
        (set_to("operators.0.builtinOptions.dilationWFactor", 1 << 30), "a stride, window or dilation is"),
        (set_to("operators.0.builtinOptions.padding", 7), "padding 7"),
        (set_to("operators.0.builtinOptions.fusedActivationFunction", 77), "an activation that kernels do not have"),
        (set_to("operators.1.builtinOptions.filterHeight", 0), "a stride, window or dilation is 0"),
        (set_to("operators.1.builtinOptions.filterHeight", 9), "AVERAGE_POOL_2D: a window of 9 over 6 pixels"),
        (set_to("operators.3.builtinOptions.weightsFormat", 1), "weights in an order of their own"),
        (set_to("tensors.0.shape", [1, 8, 8, 4]), "a tensor of [1, 8, 8, 4] may have the shape [-1, 8, 8, 3]"),
        (set_to("tensors.0.shape", [2, 8, 8, 3]), "but [[2, 6, 6, 4]] follow"),  # as if mirrored
        (set_to("tensors.0.shape", [3, 8, 8, 3]), "a tensor of [3, 8, 8, 3] may have the shape [-1, 8, 8, 3]"),
        (set_to("tensors.0.shapeSignature", [1, 8, 8]), "may have the shape [1, 8, 8]"),
        (set_to("operators.0.builtinOptions.strideH", 2), "but [[1, 3, 6, 4]] follow"),
        (set_to("tensors.1.shape", [1, -6, 6, 4]), "a tensor has the shape [1, -6, 6, 4]"),
        (set_to("tensors.1.shape", [1] * 9), "a tensor has the shape"),
        (set_to("tensors.1.shape", [1 << 20, 1 << 20]), "which is more than 256 MiB"),
        (set_to("tensors.1.type", 5), "values of type 5"),
        (set_to("tensors.1.buffer", 77), "the values of a tensor are not there"),
        (set_to("tensors.1.isVariable", True), "it has field 5 of Tensor"),
        (set_to("tensors.1.quantization.scale", [float("nan")]), "a tensor of int8 has a scale outside"),
        (set_to("tensors.1.quantization.scale", [0.0]), "a tensor of int8 has a scale outside"),
        (set_to("tensors.1.quantization.scale", [0.1] * 5), "has 5 scales"),
        (set_to("tensors.1.quantization.zeroPoint", [1, 2, 3]), "has 1 scales and 3 zero points"),
        (set_to("tensors.1.quantization.zeroPoint", [128]), "a zero point outside its range"),
        (set_to("operators.0.customOptions", np.ones(4, np.uint8)), "it has field 5 of Operator"),
    ],
    ids=lambda value: "" if callable(value) else value[:40],
)
def test_what_is_wrong_is_found(change: Callable[[Any], None], reason: str) -> None:
    bad = rewritten(GOOD, change)
    if reason:
        assert reason in refused(bad)
    else:
        verify(bad)


def test_memory_is_counted_while_it_is_needed() -> None:
    """Each of these tensors is small enough, and so are all but one at once."""
    big = Value((1 << 24,))
    chain = dict.fromkeys(["image", "a", "b", "c", "d", "e"], big)
    line = [("TANH", [one], [two]) for one, two in pairwise(chain)]
    verify(tiny_graphs.file(chain, line, ["e"]))
    fan = [("TANH", ["image"], [name]) for name in "abcd"]
    assert "at operation 4, TANH, it needs more than 256 MiB of tensors at once" in refused(
        tiny_graphs.file(chain, fan, ["a", "b", "c", "d"])
    )


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("TRANSPOSE", {"x": constant(np.array([0, 2], np.int32))}, "order [0, 2]"),
        ("PAD", {"x": constant(np.array([[0, 0], [-1, 0]], np.int32))}, "holds other numbers"),
        ("PAD", {"x": constant(np.array([[0, 0], [9999, 0]], np.int32))}, "a pad of 9999"),
        ("MEAN", {"x": constant(np.array([2], np.int32))}, "axis 2 of a tensor of rank 2"),
        ("MEAN", {"x": Value((1,), "int32")}, "must hold whole numbers that are in the file"),
        ("RESHAPE", {"x": constant(np.array([-1, -1], np.int32))}, "shape [-1, -1]"),
        ("RESHAPE", {"x": constant(np.array([0, 4], np.int32))}, "cannot have the shape [0, 4]"),
        ("ADD", {"x": constant(np.ones((3, 3), np.float32))}, "do not fit"),
        ("EXPAND_DIMS", {"x": constant(np.array([7], np.int32))}, "axis 7"),
        ("BATCH_MATMUL", {"x": constant(np.ones((3, 3), np.float32))}, "matrices [1, 4] and [3, 3]"),
    ],
)
def test_operands_are_held_against_each_operations_rule(name: str, values: dict[str, Value], reason: str) -> None:
    row = Value((1, 4))
    inputs = [each for each, value in values.items() if value.values is None]
    content = tiny_graphs.file(
        {"image": row, **values, "y": row}, [(name, ["image", "x"], ["y"])], ["y"], ["image", *inputs]
    )
    assert reason in refused(content)


@pytest.mark.parametrize(("axes", "good"), [([1], True), ([-1, 0], True), ([1, 1], False), ([3], False), ([], False)])
def test_axes_that_are_reversed_are_there_and_named_once(axes: list[int], good: bool) -> None:
    image = Taken((1, 4, 4), "float32", 64, None, 0, 0)
    order = Taken((len(axes),), "int32", 4 * len(axes), np.array(axes, np.int32), 0, 0)
    step = Step((image, order), 1, lambda index, form, default: default, lambda index: ())
    if good:
        check_shapes("REVERSE_V2", step, [(1, 4, 4)])
    else:
        with pytest.raises(ShapeError):
            check_shapes("REVERSE_V2", step, [(1, 4, 4)])


@pytest.mark.parametrize("name", ["RESHAPE", "MEAN", "REVERSE_V2"])
def test_numbers_that_steer_an_operation_are_counted_before_they_are_taken(name: str) -> None:
    """A constant may be as long as the file; as numbers of Python's it would be many times as large."""
    row, count = Value((1, 4)), 1 << 18
    numbers = constant(np.full(count, 1 << 20, np.int32))
    content = tiny_graphs.file({"image": row, "x": numbers, "y": row}, [(name, ["image", "x"], ["y"])], ["y"])
    tracemalloc.start()
    try:
        assert f"{name}: input 1 holds {count} numbers, at most 16 are taken" in refused(content)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("field", ["operators.2.builtinOptions.newShape", "operators.2.inputs", "tensors.1.shape"])
def test_a_list_of_very_many_numbers_is_not_taken(field: str) -> None:
    change = set_to(field, np.ones(1 << 16, np.int32))
    assert "it has a list of 65536 numbers, at most 32768 are allowed" in refused(rewritten(GOOD, change))


def test_nothing_is_followed_out_of_the_file() -> None:
    """Whatever offset, length or layout points past the end, it is refused; nothing but BadFileError is ever raised."""
    followed = [place for place in places(GOOD) if place.what in ("offset", "length", "layout", "root")]
    assert {place.what for place in followed} == {"offset", "length", "layout", "root"}
    for place in followed:
        bad = bytearray(GOOD)
        struct.pack_into("<" + place.form, bad, place.position, {"H": 0x7FFE, "i": -(1 << 20)}.get(place.form, 1 << 24))
        refused(bytes(bad))


def test_a_list_of_very_many_tables_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    good = tiny_graphs.classifier(quantized=False)
    monkeypatch.setattr(tflite_tables, "MOST", 8)
    verify(good)
    monkeypatch.setattr(tflite_tables, "MOST", 2)
    assert "it has a list of 10 Tensors, at most 4 are allowed" in refused(good)


def test_a_long_layout_that_many_tables_share_does_not_multiply_the_work() -> None:
    """The list of operations' codes names one table 100 times, whose layout is as long as one can be."""
    count, length = 100, 65532
    root = struct.pack("<I4s4HiIII", 16, b"TFL3", 8, 12, 4, 8, 8, 3, 4, count)
    layout = len(root) + 4 * count
    slots = struct.pack(f"<{count}I", *(layout + length - slot for slot in range(len(root), layout, 4)))
    content = root + slots + struct.pack("<2H", length, 4) + bytes(length - 4) + struct.pack("<i", length)
    assert "its lists are longer than it is" in refused(content)


def test_a_text_must_end() -> None:
    """Interpreters take a name to end at its zero."""
    assert "a text has no end" in refused(GOOD.replace(b"image\0", b"image!", 1))


def test_a_truncated_file_is_refused_at_any_length() -> None:
    for length in range(0, len(GOOD) - 4, 16):
        refused(GOOD[:length])


def test_mutants_are_refused_or_pass_and_nothing_else() -> None:
    good, passed = TFLite(GOOD), 0
    for number in range(400):
        try:
            verify(good.mutant(random.Random(number)))
            passed += 1
        except BadFileError:
            continue
    assert 0 < passed < 200


def test_a_file_is_the_one_that_its_manifest_means(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    with pytest.raises(BadFileError, match="does not have the SHA-256 that the manifest says"):
        read_verified(path, "0" * 64)
    with pytest.raises(BadFileError, match="cannot be read: No such file"):
        read_verified(tmp_path / "b.tflite")
