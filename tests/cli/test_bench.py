"""``edgecnn bench`` on small real files, and its exit codes on a scripted machine."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import edgecnn.measure.bench
from edgecnn.cli.main import main
from edgecnn.measure.bench import bench
from edgecnn.measure.measurement import Session
from tests import tiny_artifacts
from tests.measure.scripted import QUIET, ScriptedWorker, after, quiet, surroundings
from tests.tiny_artifacts import FLOAT_FILE, INT8_FILE

SHORT = ("--min-seconds", "0.01", "--runs", "2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


def script(monkeypatch: pytest.MonkeyPatch, states: Iterator | None = None, fails_at: str = "") -> None:
    """Replace processes and machine: every file takes 100 us a call."""
    around = surroundings(lambda _case: ScriptedWorker(100.0, (), fails_at), states or quiet())
    monkeypatch.setattr(edgecnn.measure.bench, "bench", partial(bench, surroundings=around))


def test_a_bundle_and_a_damaged_file_in_real_processes(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"damage" * 40)
    result = tmp_path / "run.json"
    code = main(["bench", str(folder), str(damaged), *SHORT, "--json", str(result), "--format", "csv"])
    out, err = capfd.readouterr()
    assert code == 1
    assert err.splitlines()[-1] == (
        f"edgecnn: error: 1 of 3 could not be measured; the first is {damaged} in litert: "
        "is not a TFLite file (no 'TFL3' mark); copy it again or give another file"
    )
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [Path(row["file"]).name for row in rows] == [FLOAT_FILE, INT8_FILE, "damaged.tflite"]
    assert rows[0]["accuracy"] == "1.0"
    assert float(rows[0]["p50"]) >= float(rows[0]["minimum"]) > 0
    session = Session.load(result)
    assert session.settings.runs == 2
    assert [len(row.runs) for row in session.measurements] == [2, 2, 0]
    assert all(len(run.samples) >= 10 for row in session.measurements for run in row.runs)
    assert session.measurements[0].engine is not None


def test_measuring_needs_no_torch_here(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = set(sys.modules)
    assert main(["bench", str(folder / INT8_FILE), *SHORT]) == 0
    assert INT8_FILE in capfd.readouterr().out
    assert not {"torch", "onnxruntime"} & (set(sys.modules) - before)


def test_json_on_standard_output_is_the_result_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch)
    result = tmp_path / "run.json"
    assert main(["bench", str(folder), "--format", "json", "--json", str(result)]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == json.loads(result.read_text())
    assert "round 5 of 5" in err


def test_an_invalid_run_is_shown_and_exits_with_3(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, iter([QUIET, after(throttled=0x50005)]))
    assert main(["bench", str(folder), "--runs", "1"]) == 3
    out, err = capfd.readouterr()
    assert out.startswith("INVALID: under-voltage during the run; throttled during the run.")
    assert err.splitlines()[-1].startswith("edgecnn: error: the figures are INVALID: under-voltage")


def test_an_unstable_run_exits_with_0(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, iter([QUIET, after(others=40.0)]))
    assert main(["bench", str(folder), "--runs", "1"]) == 0
    assert "verdict unstable\n        other processes kept 4.0 of 4 CPUs busy" in capfd.readouterr().out


def test_every_file_failing_exits_with_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, fails_at="open")
    assert main(["bench", str(folder)]) == 1
    out, err = capfd.readouterr()
    assert out.count("was killed by SIGILL") == 2
    assert "2 of 2 could not be measured" in err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["none.tflite"], "none.tflite is not a bundle folder or a file ending in"),
        (["BUNDLE", "--runtime", "litert,onnx"], "unknown runtime 'onnx'; did you mean 'onnxruntime'?"),
        (["BUNDLE", "--runtime", ","], "--runtime ',' names no runtime"),
        (["BUNDLE", "--runtime", "torchscript"], "none of the 2 files can run in torchscript"),
        (["BUNDLE", "--threads", "0"], "'0' (valid: different whole numbers from 1, with commas)"),
        (["BUNDLE", "--threads", "1,1"], "'1,1' (valid: different whole numbers"),
        (["BUNDLE", "--batch", "four"], "'four' (valid: different whole numbers"),
        (["BUNDLE", "--threads", "99999"], "--threads 99999 is more than the"),
        (["BUNDLE", "--pin", "99999"], "--pin 99999 names a CPU that this process may not use"),
        (["BUNDLE", "--runs", "0"], "--runs"),
        (["BUNDLE", "--json", "FOLDER/run.json"], "run.json already exists"),
        (["BUNDLE", "--format", "tabel"], "tabel"),
        ([], "BUNDLE_OR_FILE"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    folder: Path, words: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "run.json").write_text("{}")
    names = [word.replace("BUNDLE", str(folder)).replace("FOLDER", str(folder.parent)) for word in words]
    assert main(["bench", *names]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err
