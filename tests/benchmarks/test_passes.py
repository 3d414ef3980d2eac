"""The benchmark of the rewrites: a row for every variant, with AMX as asked; conversions and times are made up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import passes as benchmark
from edgecnn.errors import CheckFailedError
from edgecnn.export import tflite
from edgecnn.measure.bench import bench
from edgecnn.measure.measurement import Session
from edgecnn.quantize import passes
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.runtime import amx
from tests import tiny_artifacts
from tests.measure.scripted import QUIET, ScriptedWorker, after, surroundings


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=True).read_bytes()


def test_a_model_has_a_row_for_every_variant(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[list[float]] = iter([[100.0, 90.0, 80.0, 70.0, 60.0, 50.0, 40.0], [200.0] * 7])
    asked: list[bool] = []

    def time_files(files: list[Path], _runs: int, amx_allowed: bool) -> list[float]:
        asked.append(amx_allowed)
        return next(times)[: len(files)]

    for name in ("convert_float", "convert_quantized"):
        monkeypatch.setattr(tflite, name, lambda _graph, _arguments: content)
    monkeypatch.setattr(benchmark, "time_files", time_files)
    monkeypatch.setattr(amx, "supported", lambda: True)
    rows = benchmark.run("lenet", 5, tmp_path)
    assert asked == [False, True]
    assert [(row.recipe, row.passes) for row in rows] == benchmark.variants()
    assert len(rows) == 3 + len(passes.defaults(STATIC_W8A8))
    assert (rows[1].microseconds, rows[1].microseconds_amx, rows[1].ratio) == (90, 200, 0.9)
    assert "200.0" in benchmark.text(rows)


def test_amx_is_withheld_or_allowed_whatever_the_environment_says(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Any] = []

    def listening(*words: Any) -> Session:
        session = bench(*words)
        engines.extend(row.engine for row in session.measurements)
        return session

    monkeypatch.setattr(benchmark, "bench", listening)
    for setting in ("0", "1"):
        monkeypatch.setitem(os.environ, "EDGECNN_AMX", setting)
        for allowed, ending in ((False, "AMX withheld"), (True, "AMX allowed")):
            (time,) = benchmark.time_files([tmp_path / "a.tflite"], 1, allowed)
            assert time > 0
            assert engines.pop().endswith(ending if amx.supported() else "")


def test_a_file_that_fails_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "junk.tflite").write_bytes(b"junk" * 100)
    with pytest.raises(CheckFailedError, match="junk.tflite is not a TFLite file"):
        benchmark.time_files([tmp_path / "junk.tflite"], 1, amx_allowed=False)


def test_figures_of_a_machine_that_throttled_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    around = surroundings(lambda _case: ScriptedWorker(100.0), iter([QUIET, after(throttled=0x50005)]))
    monkeypatch.setattr(benchmark, "bench", lambda cases, settings, _around: bench(cases, settings, around))
    monkeypatch.setattr(
        benchmark, "run", lambda *_words: benchmark.time_files([tmp_path / "a.tflite"], 1, amx_allowed=False)
    )
    assert benchmark.main(["--model", "lenet"]) == 3
    assert capsys.readouterr().err.startswith("passes: error: the figures are INVALID: under-voltage during the run")
