"""A file is read as the schema's own code reads it; a damaged one is refused, and never takes long."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecnn.errors import BadFileError
from edgecnn.runtime.slices import prefixes
from edgecnn.runtime.tflite_file import NAMES, TYPES, Operation, Tensor, read
from tests import tiny_artifacts, tiny_graphs


def test_names_and_types_are_those_of_the_schema() -> None:
    codes = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    assert [codes[number] for number in range(len(NAMES))] == list(NAMES)
    types = {number: name.lower() for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
    assert {number: name for number, (name, _) in TYPES.items()} == {number: types[number] for number in TYPES}


def test_a_file_is_read_as_it_was_written() -> None:
    file = read(tiny_graphs.classifier(quantized=True))
    assert file.operations == (
        Operation("CONV_2D", (0, 2, 3), (1,)), Operation("AVERAGE_POOL_2D", (1,), (4,)),
        Operation("RESHAPE", (4, 5), (6,)), Operation("FULLY_CONNECTED", (6, 7, 8), (9,)),
    )  # fmt: skip
    assert (file.inputs, file.outputs) == ((0,), (9,))
    assert file.tensors[0] == Tensor("image", (1, 8, 8, 3), "int8", 192, False, True)
    assert file.tensors[3] == Tensor("b1", (4,), "int32", 16, True, False)


def test_a_file_is_exact_that_computes_in_integers_of_8_bits_or_more(tmp_path: Path) -> None:
    matrix = tiny_artifacts.weights(0)
    whole, real = (
        read(tiny_artifacts.tflite(tmp_path / "x.tflite", matrix, quantized=quantized).read_bytes())
        for quantized in (True, False)
    )
    assert whole.exact
    assert not real.exact
    packed = [replace(each, dtype="int4") if each.constant and each.dtype == "int8" else each for each in whole.tensors]
    assert packed != list(whole.tensors)
    assert not replace(whole, tensors=tuple(packed)).exact


def test_an_operation_that_nobody_knows_has_a_number_or_its_own_name() -> None:
    def change(model: Any) -> None:
        newer, custom, old, nameless = model.operatorCodes
        newer.builtinCode, newer.deprecatedBuiltinCode = 9999, 127
        for code in (custom, nameless):
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        custom.customCode = b"My\nOp"
        old.builtinCode, old.deprecatedBuiltinCode = 0, schema.BuiltinOperator.MUL  # only the field of one byte

    content = tiny_graphs.rewritten(tiny_graphs.skip_connection(), change)
    assert [each.name for each in read(content).operations] == ["OPERATION_9999", "CUSTOM My?Op", "MUL", "CUSTOM"]


def test_a_tensor_of_a_rank_that_no_engine_has_kernels_for_is_refused() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[1].shape = model.subgraphs[0].tensors[1].shapeSignature = [1] * 9

    with pytest.raises(BadFileError, match="a tensor has rank 9"):
        read(tiny_graphs.rewritten(tiny_graphs.skip_connection(), change))


def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path) -> None:
    whole = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights()).read_bytes()
    for content in (b"", b"junk" * 30, whole[:40], b"\0\0\0\0TFL3", whole[:4] + b"TFL2" + whole[8:]):
        with pytest.raises(BadFileError, match=r"^[^\n]*TFLite file[^\n]*$"):
            read(content)


@pytest.mark.parametrize("index", [5, -2, 1 << 30])
def test_tensors_that_are_not_there_are_refused(index: int) -> None:
    def takes(model: Any) -> None:
        model.subgraphs[0].operators[1].inputs = [index]

    def gives(model: Any) -> None:
        model.subgraphs[0].outputs = [index]

    for change in (takes, gives):
        with pytest.raises(BadFileError, match="a tensor that is used is not there"):
            read(tiny_graphs.rewritten(tiny_graphs.skip_connection(), change))


def test_a_graph_of_nothing_is_refused() -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].operators = []

    with pytest.raises(BadFileError, match="it has no operations, no input or no output"):
        read(tiny_graphs.rewritten(tiny_graphs.skip_connection(), change))


def test_a_list_that_is_said_to_be_endless_is_not_followed() -> None:
    content = bytearray(tiny_graphs.skip_connection())
    operators = read(bytes(content)).places.operators
    for length in (0xFFFFFFFF, 0x7FFFFFFF, len(content)):
        struct.pack_into("<I", content, operators, length)
        with pytest.raises(BadFileError, match="its lists are longer than it is"):
            read(bytes(content))


def test_lists_that_are_shared_do_not_multiply_the_work() -> None:
    """Every operation of a long list may point to the same one, and that to a list as long."""

    def change(model: Any) -> None:
        operators = model.subgraphs[0].operators
        operators[0].inputs = [0] * 20_000
        operators += [operators[3]] * 20_000

    content = bytearray(tiny_graphs.rewritten(tiny_graphs.skip_connection(), change))
    slots = read(bytes(content)).places.operators + 4
    first = slots + struct.unpack_from("<I", content, slots)[0]
    for slot in range(slots, slots + 80_000, 4):
        struct.pack_into("<I", content, slot, first - slot)
    with pytest.raises(BadFileError, match="its lists are longer than it is"):
        read(bytes(content))


def test_thousands_of_damaged_files_are_read_or_refused() -> None:
    dice, outcomes = random.Random(0), {"read": 0, "refused": 0}
    for whole in (tiny_graphs.classifier(quantized=True), tiny_graphs.skip_connection()):
        for _ in range(1500):
            content = bytearray(whole)
            for _ in range(dice.choice((1, 3, 30))):
                place = dice.randrange(8, len(content) - 4)
                value = dice.choice((0, 1, 255, len(content), 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF))
                struct.pack_into("<I", content, place & ~3 if dice.random() < 0.8 else place, value)
            try:
                assert len(list(prefixes(bytes(content)))) >= 1
                outcomes["read"] += 1
            except BadFileError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 100
