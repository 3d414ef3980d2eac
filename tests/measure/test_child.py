"""The measured process's answers, from a fake runner in this process and from a real file in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import BadFileError, CheckFailedError
from edgecnn.measure.child import FIRST_CALLS, serve
from edgecnn.measure.measurement import Case
from edgecnn.measure.worker import Worker
from edgecnn.runtime import litert
from edgecnn.runtime.arena import arena_bytes
from edgecnn.runtime.fake import FakeRunner
from edgecnn.runtime.runner import Runner
from edgecnn.runtime.tflite_file import read
from tests import tiny_artifacts, tiny_graphs
from tests.measure.scripted import case

OPEN = {"do": "open", "case": dataclasses.asdict(case(batch=3)), "pin": [], "spawned": 400}
TIME = {"do": "time", "warm_up": 0.0, "seconds": 0.0, "at_least": 7}


def ask(runner: Runner, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of a process that runs ``runner`` and whose first line ran at 1000 nanoseconds."""
    return list(serve(map(json.dumps, requests), 1000, lambda _case: runner))


def test_opening_says_what_a_cold_start_took() -> None:
    runner = FakeRunner()
    (opened,) = ask(runner, OPEN)
    assert opened["engine"] == "fake 1"
    assert opened["start"] == 600
    assert min(opened[name] for name in ("imports", "load", "first", "overhead", "base_bytes", "peak_bytes")) > 0
    assert runner.runs == FIRST_CALLS


def test_warm_ups_and_samples_are_apart_and_each_is_a_call() -> None:
    runner = FakeRunner()
    _, timed, spent = ask(runner, OPEN, TIME, {"do": "spend", "seconds": 0.0})
    assert (len(timed["warm_ups"]), len(timed["samples"]), spent) == (1, 7, {"calls": 1})
    assert min(timed["samples"]) > 0
    assert runner.runs == FIRST_CALLS + 1 + 7 + 1


def test_cpu_time_is_that_of_all_samples_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([1_000_000, 8_000_000])
    monkeypatch.setattr(time, "process_time_ns", lambda: next(readings))
    _, timed = ask(FakeRunner(), OPEN, TIME)
    assert (len(timed["samples"]), timed["cpu"]) == (7, 1_000_000)


def test_windows_of_a_sustained_run_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, seconds = FakeRunner(), count(100)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    window = {"do": "sustain", "seconds": 0.0}
    _, first, second = ask(runner, OPEN, window, window)
    assert set(first) == {"at", "p50", "mhz", "celsius", "throttled", "events"}
    assert 0 < first["at"] < second["at"]
    assert first["p50"] > 0
    assert runner.runs == FIRST_CALLS + 2


def test_the_model_gets_the_batch_that_was_asked_for() -> None:
    shapes = set()

    class Watched(FakeRunner):
        def run(self, tensor: Any) -> Any:
            shapes.add(tensor.shape)
            return super().run(tensor)

    ask(Watched(), OPEN, TIME)
    assert shapes == {(3, 32, 32, 3)}


def test_an_error_is_an_answer_and_the_last() -> None:
    def launch(_case: Any) -> Runner:
        raise BadFileError("a.tflite is damaged")

    assert list(serve(map(json.dumps, (OPEN, TIME)), 0, launch)) == [{"error": "a.tflite is damaged"}]


def real_case(path: Path, bundle: Path | None) -> Case:
    return dataclasses.replace(case(str(path)), bundle=None if bundle is None else str(bundle))


@pytest.mark.parametrize("in_bundle", [True, False])
@pytest.mark.parametrize("runtime", ["litert", "tflite-runtime"])
def test_a_file_is_opened_in_the_runtime_of_its_case(
    in_bundle: bool, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = litert.INTERPRETERS | {"tflite-runtime": ("ai_edge_litert", "ai-edge-litert")}  # stands in for the old one
    monkeypatch.setattr(litert, "INTERPRETERS", both)
    folder = tiny_artifacts.bundle(tmp_path / "b")
    chosen = real_case(folder / tiny_artifacts.FLOAT_FILE, folder if in_bundle else None)
    order = OPEN | {"case": dataclasses.asdict(dataclasses.replace(chosen, runtime=runtime))}
    (opened,) = serve([json.dumps(order)], 0)
    assert opened["engine"].startswith(f"{runtime} ")


def test_a_real_file_of_a_bundle_in_a_process_of_its_own(tmp_path: Path) -> None:
    folder = tiny_artifacts.bundle(tmp_path / "b")
    cpu = max(os.sched_getaffinity(0))
    with Worker() as worker:
        order = {"case": dataclasses.asdict(real_case(folder / tiny_artifacts.FLOAT_FILE, folder)), "pin": [cpu]}
        opened = worker.ask({"do": "open", "spawned": worker.spawned, **order}, 60)
        assert os.sched_getaffinity(worker._process.pid) == {cpu}
        timed = worker.ask(TIME, 60)
        score = worker.ask({"do": "score"}, 60)
        alive = time.perf_counter_ns() - worker.spawned
    assert opened["engine"].startswith(("litert ", "tflite-runtime "))
    assert 0 < opened["start"] + opened["imports"] + opened["load"] + opened["first"] < alive
    assert opened["peak_bytes"] >= opened["base_bytes"] > 1 << 20
    assert len(timed["samples"]) == 7
    assert score == {"correct": 50, "images": 50}


def test_the_anatomy_of_a_real_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(tiny_graphs.classifier(quantized=True))
    known = {"case": dataclasses.asdict(dataclasses.replace(real_case(path, None), batch=3)), "pin": [], "spawned": 0}
    with Worker() as worker:
        worker.ask({"do": "open", **known}, 60)
        timed = worker.ask(TIME, 60)
        found = worker.ask({"do": "anatomy"}, 60)
    assert found["graph"] == {
        "operations": ["CONV_2D", "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED"], "outside": ["AVERAGE_POOL_2D"],
        "partitions": 2, "arena_bytes": arena_bytes(read(path.read_bytes()), 3),
    }  # fmt: skip
    assert 0 < found["floor"] < min(timed["samples"])


def test_a_runner_without_an_idle_one_has_no_anatomy() -> None:
    assert ask(FakeRunner(), OPEN, {"do": "anatomy"})[1] == {"graph": None, "floor": None}


def test_a_real_file_that_is_damaged_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"bad" * 99)
    order = {"do": "open", "case": dataclasses.asdict(real_case(path, None)), "pin": [], "spawned": 0}
    with Worker() as worker, pytest.raises(CheckFailedError, match="is not a TFLite file"):
        worker.ask(order, 60)
