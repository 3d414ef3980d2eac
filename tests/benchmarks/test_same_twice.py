"""The count of false alarms, on medians we choose, and one real pair."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import same_twice
from edgecnn.measure.bench import bench
from tests import tiny_artifacts
from tests.measure.benches import row, session
from tests.measure.scripted import ScriptedWorker, quiet, surroundings

FAST, SLOW = [100.0, 101.0, 102.0, 103.0, 104.0], [120.0, 121.0, 122.0, 123.0, 124.0]


def test_pairs_that_differ_are_counted_by_turns_and_between_benches() -> None:
    times = [(FAST, FAST), (FAST, SLOW), (SLOW, SLOW)]
    counts = same_twice.verdict([session(*(row(times=each) for each in pair)) for pair in times])
    assert (counts["pairs_by_turns"], counts["differ_by_turns"]) == (3, 1)
    assert counts["pairs_of_two_benches"] == 4  # of which the second row became slower, and then the first
    slower = {f"latency {name}": 2 for name in ("p50", "p90", "p99", "mean", "min")}
    assert counts["differ_of_two_benches"] == slower | {"cold_start": 0, "memory": 0}
    assert counts["regressions"] == 2
    assert counts["median_spread"] == pytest.approx(4 / 102)


def test_a_file_is_benched_against_itself_and_a_missing_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    around = surroundings(lambda _case: ScriptedWorker(100.0), quiet())
    monkeypatch.setattr(same_twice, "bench", partial(bench, surroundings=around))
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    assert same_twice.main([str(path), "--pairs", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pairs_by_turns"] == 1
    assert document["medians"] == [[[100.0] * 5] * 2]
    assert same_twice.main([str(tmp_path / "none.tflite")]) == 2
    assert capsys.readouterr().err.startswith("same_twice: error: ")
    assert same_twice.main([str(path), "--pairs", "0"]) == 2
    assert capsys.readouterr().err == "same_twice: error: --pairs 0 is no measurement (valid: 1 or more)\n"


def test_a_file_that_does_not_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    around = surroundings(lambda _case: ScriptedWorker(100.0, (), "open"), quiet())
    monkeypatch.setattr(same_twice, "bench", partial(bench, surroundings=around))
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    assert same_twice.main([str(path), "--pairs", "1"]) == 1
    assert capsys.readouterr().err.startswith(f"same_twice: error: {path} ")
