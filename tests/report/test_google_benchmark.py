"""Google Benchmark's JSON: what its own tools read is there, and doubt cannot be overlooked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from edgecnn.measure.machine import State
from edgecnn.measure.measurement import Session
from edgecnn.report.google_benchmark import google_benchmark
from tests.measure.scripted import QUIET, after
from tests.report.test_bench import session, throttled

NAME = "bundle/fast.tflite/litert/batch:1/threads:1"


def entries(shown: Session) -> list[dict[str, Any]]:
    benchmarks: list[dict[str, Any]] = json.loads(google_benchmark(shown))["benchmarks"]
    return benchmarks


def test_every_run_is_a_repetition_with_what_readers_need() -> None:
    """Fields that compare.py and github-action-benchmark's googlecpp read."""
    runs = [each for each in entries(session()) if each["run_name"] == NAME and each["run_type"] == "iteration"]
    assert [each["repetition_index"] for each in runs] == [0, 1, 2, 3, 4]
    first = runs[0]
    assert (first["name"], first["repetitions"], first["threads"], first["iterations"]) == (NAME, 5, 1, 12)
    assert first["time_unit"] == "us"
    assert first["real_time"] == pytest.approx(98.7 * 14 / 12)
    assert first["cpu_time"] == pytest.approx(97.7)
    assert (first["p50_us"], first["min_us"], first["accuracy"], first["bytes"]) == (98.7, 98.7, 0.9, 1234)
    assert "error_occurred" not in first and "label" not in first


def test_aggregates_are_over_the_runs() -> None:
    over = {each["name"]: each for each in entries(session()) if each["run_type"] == "aggregate"}
    mean, spread = over[f"{NAME}_mean"], over[f"{NAME}_stddev"]
    assert mean["real_time"] == over[f"{NAME}_median"]["real_time"] == pytest.approx(98.7 * 14 / 12)
    assert (mean["aggregate_name"], mean["aggregate_unit"], mean["iterations"]) == ("mean", "time", 5)
    assert (spread["real_time"], over[f"{NAME}_cv"]["aggregate_unit"]) == (0, "percentage")
    assert not [each for each in entries(session(runs=1)) if each["run_type"] == "aggregate"]


def test_the_context_is_the_machine() -> None:
    context = json.loads(google_benchmark(session()))["context"]
    assert (context["host_name"], context["num_cpus"], context["mhz_per_cpu"]) == ("Board 1", 4, 1500)
    assert (context["cpu_scaling_enabled"], context["library_build_type"]) == (False, "release")
    assert (context["verdict"], context["verdict_reasons"]) == ("valid", "")


def test_a_failed_row_is_an_error() -> None:
    bad = entries(session())[-1]
    assert (bad["name"], bad["error_occurred"]) == ("bad/litert/batch:1/threads:1", True)
    assert bad["error_message"] == "was killed by SIGILL"
    assert "real_time" not in bad


def test_invalid_is_an_error_a_label_and_another_name() -> None:
    shown = session(throttled())
    assert json.loads(google_benchmark(shown))["context"]["verdict"] == "INVALID"
    timed = [each for each in entries(shown) if "real_time" in each]
    assert timed
    for each in timed:
        assert " INVALID" in each["name"]
        assert each["label"] == each["error_message"] == "INVALID: under-voltage during the run"
        assert each["error_occurred"] is True


def test_unstable_is_a_label() -> None:
    def busy() -> Iterator[State]:
        state = QUIET
        while True:
            yield state
            state = after(state, others=20.0)

    timed = [each for each in entries(session(busy())) if "real_time" in each]
    assert {each["label"] for each in timed} == {"unstable: other processes kept 2.0 of 4 CPUs busy"}
    assert not [each for each in timed if "error_occurred" in each or "INVALID" in each["name"]]
