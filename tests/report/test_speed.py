"""The verdict on speed in words."""

from __future__ import annotations

import dataclasses

from edgecnn.measure.bench import bench
from edgecnn.measure.measurement import Graph, Settings
from edgecnn.report.bench import text
from edgecnn.report.speed import lines
from tests.measure.scripted import ScriptedWorker, case, quiet, surroundings
from tests.measure.test_speed import LAYERS, session


def test_a_fast_file_has_one_line() -> None:
    assert lines(session(30.0)) == [
        "speed   b/static_w8a8.tflite in litert: 2.00 times as fast as float32.tflite (95 %: 2.00 to 2.00)"
    ]


def test_a_slow_file_has_its_reasons_below_it_and_is_in_the_report() -> None:
    slow = session(75.0, graph=Graph((*LAYERS, "TRANSPOSE"), ("TRANSPOSE",), 2, 1))
    expected = [
        "speed   b/static_w8a8.tflite in litert: 0.80 times as fast as float32.tflite (95 %: 0.80 to 0.80), "
        "which is slower",
        "          - 1 of 4 operations are outside the delegate: 1 TRANSPOSE",
        "          - transposes among its 4 operations: 1 TRANSPOSE",
        "          - the delegate runs it in 2 pieces, and every change between the two costs time",
        "          'edgecnn profile static_w8a8.tflite' tells where its time goes",
    ]
    assert lines(slow) == expected
    assert "\n".join(expected) in text(slow)


def test_no_cause_is_invented() -> None:
    headline, below, _ = lines(session(50.0))
    assert headline.endswith("1.20 times as fast as float32.tflite (95 %: 1.20 to 1.20), less than 1.3")
    assert below.startswith("          no cause found by what was checked: the recipe, int8 instructions, operations")


def test_what_is_never_looked_at_is_said() -> None:
    cases = [dataclasses.replace(case(f"{name}.onnx", "b"), recipe=name) for name in ("float32", "static_w8a8")]
    _, below, more = lines(bench(cases, Settings(), surroundings(lambda _case: ScriptedWorker(9.0), quiet())))
    assert below.strip() == "no cause found by what was checked: the recipe, int8 instructions"
    assert more.strip().startswith("operations, partitions and the fixed cost of a call are only looked at in .tflite")


def test_a_difference_that_cannot_be_told_is_not_called_one() -> None:
    headline, *_ = lines(session(60.0))
    assert headline.endswith("which is no difference that could be told (p = 1.00)")


def test_threads_and_batch_are_named_where_they_are_not_one() -> None:
    cases = [
        dataclasses.replace(case(f"{name}.tflite", "b", batch=4), recipe=name, threads=2)
        for name in ("float32", "static_w8a8")
    ]
    found = bench(cases, Settings(pin=()), surroundings(lambda _case: ScriptedWorker(9.0), quiet()))
    assert lines(found)[0].startswith("speed   b/static_w8a8.tflite in litert, 2 threads, batch 4: 1.00 times")


def test_nothing_to_compare_has_no_lines() -> None:
    assert lines(bench([case()], Settings(), surroundings(lambda _case: ScriptedWorker(9.0), quiet()))) == []
