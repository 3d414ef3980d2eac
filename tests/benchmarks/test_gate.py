"""CI's gate: the committed bench fits itself, and a file that grew or a worse one does not get through."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from benchmarks import gate
from edgecnn import models
from edgecnn.cli.main import main
from edgecnn.measure.limits import parse_limits
from edgecnn.measure.measurement import Session
from edgecnn.runtime.manifest import Accuracy
from tests import tiny_artifacts


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A baseline of small bundles, which stand in for the models'."""

    def bundle(model: str, data: str, cache: Path, *_rest: object) -> Path:
        return tiny_artifacts.bundle(cache / f"made-{model}-{data}")

    monkeypatch.setattr(gate, "bundle", bundle)
    monkeypatch.setattr(models, "names", lambda: ["lenet", "resnet8"])
    monkeypatch.setattr(gate, "COMMITTED", tmp_path / "gate.json")
    assert gate.main(["--write"]) == 0
    return tmp_path / "gate.json"


def shrink(path: Path) -> None:
    """Let the first file of the bench have been smaller."""
    session = Session.load(path)
    first, *rest = session.measurements
    smaller = dataclasses.replace(first, case=dataclasses.replace(first.case, bytes=first.case.bytes * 9 // 10))
    dataclasses.replace(session, measurements=(smaller, *rest)).save(path)


def test_what_has_not_changed_gets_through_on_any_machine(committed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = Session.load(committed)
    assert [row.case.file for row in session.measurements] == [
        f"{model}-digits/{file}"
        for model in ("lenet", "resnet8")
        for file in (tiny_artifacts.FLOAT_FILE, tiny_artifacts.INT8_FILE)
    ]
    elsewhere = dataclasses.replace(session.machine, cpu="Cortex-A72", architecture="aarch64", python="3.13.0")
    dataclasses.replace(session, machine=elsewhere).save(committed)
    assert gate.main([]) == 0
    assert "0 regressions in 8 comparisons" in capsys.readouterr().out


def test_a_file_that_grew_does_not(committed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shrink(committed)
    assert gate.main([]) == 1
    assert re.search("bytes of lenet-digits/tiny.float32.tflite in litert is worse by", capsys.readouterr().err)


def test_a_worse_one_does_not(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = gate.measure()
    worse = dataclasses.replace(measured.measurements[0], accuracy=Accuracy(30, 50))
    now = dataclasses.replace(measured, measurements=(worse, *measured.measurements[1:]))
    monkeypatch.setattr(gate, "measure", lambda: now)
    assert gate.main([]) == 1


def test_a_file_that_does_not_run_is_not_what_others_are_held_against(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session, before = gate.measure(), committed.read_bytes()
    failed = dataclasses.replace(session.measurements[0], failure="broke")
    broken = dataclasses.replace(session, measurements=(failed, *session.measurements[1:]))
    monkeypatch.setattr(gate, "bench", lambda *_words: broken)
    assert gate.main(["--write"]) == 1
    assert capsys.readouterr().err == f"gate: error: {failed.case.file} broke\n"
    assert committed.read_bytes() == before


def test_the_committed_bench_is_of_all_models_and_has_what_the_gate_looks_at() -> None:
    session = Session.load(gate.COMMITTED)
    expected = [(model, recipe) for model in models.names() for recipe in ("float32", "static_w8a8")]
    assert [(row.case.model, row.case.recipe) for row in session.measurements] == expected
    assert all(row.accuracy and row.accuracy.images == 450 for row in session.measurements)
    assert {limit.metric for limit in parse_limits(gate.LIMITS)} == {"bytes", "accuracy"}
    assert main(["compare-runs", str(gate.COMMITTED), str(gate.COMMITTED), "--fail-on", gate.LIMITS]) == 0
