"""Result files sorted by machine: nothing of two machines together, and no two rows of one name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgecnn.measure.trust import INVALID, UNSTABLE, VALID, Verdict
from tests.report.samples import EMULATED, OTHER, emulated, five, invalid, row, sections_of, session


def test_every_machine_has_a_section_of_its_own() -> None:
    found = sections_of(session([row()]), session([row()], OTHER), session([row("resnet8")]))
    assert [each.machine.board for each in found] == ["Board 1", "Board 2"]
    assert [source.name for source in found[0].sources] == ["run-1.json", "run-3.json"]
    assert [each.measurement.case.model for each in found[0].rows] == ["lenet", "resnet8"]


@pytest.mark.parametrize("changes", [{"kernel": "7"}, {"python": "7"}, {"memory_bytes": 7}], ids=str)
def test_a_machine_that_differs_in_one_field_is_another(changes: dict[str, Any]) -> None:
    changed = dataclasses.replace(OTHER, **changes)
    assert len(sections_of(session([row()], OTHER), session([row()], changed))) == 2


def test_the_front_is_of_one_section_only_and_of_rows_that_may_be_used() -> None:
    good, better = row("slow", microseconds=200, correct=800, size=9000), row("quick", microseconds=10, correct=900)
    (alone,) = sections_of(session([good, row("worse", microseconds=300, correct=700, size=9500)]))
    assert [each.fronts for each in alone.rows] == [("latency", "bytes"), ()]
    here, there = sections_of(session([good]), session([better], OTHER))
    assert here.rows[0].fronts == there.rows[0].fronts == ("latency", "bytes")
    (mixed,) = sections_of(session([good]), invalid([better]))
    assert [each.fronts for each in mixed.rows] == [("latency", "bytes"), ()]
    assert [each.level for each in mixed.rows] == [VALID, INVALID]


def test_an_emulated_front_is_of_instructions() -> None:
    (found,) = sections_of(session([emulated("a", 100), emulated("b", 200), emulated("c", 50, correct=None)], EMULATED))
    assert [each.fronts for each in found.rows] == [("instructions", "bytes"), ("bytes",), ()]
    assert found.cost == "instructions" and found.rows[0].cost == (100.0, (100, 110))


def test_labels_say_only_what_tells_rows_apart() -> None:
    (plain,) = sections_of(session(five()))
    assert [each.label for each in plain.rows[:3]] == ["lenet", "lenet", "mod_cnn"]
    assert [each.name for each in plain.series] == ["float32", "static_w8a8"]
    (threads,) = sections_of(session([row(threads=1), row(threads=2), row(threads=2, runtime="onnxruntime")]))
    assert [each.label for each in threads.rows] == ["lenet", "lenet, 2 threads", "lenet, 2 threads"]
    assert [each.name for each in threads.series] == ["float32 in litert", "float32 in onnxruntime"]
    (again,) = sections_of(session([row()]), session([row()]))
    assert [each.label for each in again.rows] == ["lenet, run-1", "lenet, run-2"]
    other = dataclasses.replace(row(), case=dataclasses.replace(row().case, file="x/other.tflite"))
    (files,) = sections_of(session([row(), other]))
    assert [each.label for each in files.rows] == ["lenet/lenet_float32.tflite", "lenet/other.tflite"]
    (unknown,) = sections_of(session([row(model=None, recipe=None)]))
    assert unknown.rows[0].label == "None/None_None.tflite" and unknown.series[0].name == "recipe not recorded"


def test_many_series_keep_shapes_apart_when_colours_run_out() -> None:
    runtimes = ("litert", "onnxruntime", "torchscript", "openvino")
    (found,) = sections_of(session(five(runtimes)))
    assert len({each.shape for each in found.series}) == len(found.series) == 8
    assert {each.colour for each in found.series if each.name.startswith("float32")} == {0}
    assert {each.colour for each in found.series if each.name.startswith("static_w8a8")} == {1}


def test_the_level_of_a_section_is_its_worst() -> None:
    doubted = row(verdict=Verdict(UNSTABLE, ("why",)))
    assert [each.level for each in sections_of(session([row()]))] == [VALID]
    assert [each.level for each in sections_of(session([row(), doubted]))] == [UNSTABLE]
    assert [each.level for each in sections_of(session([doubted]), invalid([row()]))] == [INVALID]
    assert sections_of(session([row()]), invalid([row()]))[0].invalid == "under-voltage during the run"
    assert sections_of(session([doubted]))[0].invalid is None


def test_failures_are_kept_apart() -> None:
    (found,) = sections_of(session([row("broken", runs=0, failure="was killed by SIGILL"), row()]))
    assert [each.number for each in found.rows] == [1]
    assert [each.failure for _, each in found.failed] == ["was killed by SIGILL"]
