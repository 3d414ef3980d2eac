"""``edgecnn bench`` on small real files, and its exit codes on a scripted machine."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
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

ROOT = Path(edgecnn.__file__).parent.parent
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
        f"edgecnn: error: 1 of 3 failed; the first is {damaged} in litert: "
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


def test_measuring_needs_no_torch_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("torch", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails, also where another test made one
    assert main(["bench", str(folder / INT8_FILE), *SHORT]) == 0
    assert INT8_FILE in capfd.readouterr().out


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


def test_a_folder_in_the_place_of_the_result_is_refused_before_anything_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, iter([]))
    assert main(["bench", str(folder), "--json", str(folder), "--force"]) == 2
    assert capfd.readouterr().err == (
        f"edgecnn: error: {folder} is a folder; give the name of a file, as {folder / 'NAME'}\n"
    )


def test_a_result_that_cannot_be_written_is_shown_all_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "new" / "run.json"

    def states() -> Iterator:
        yield QUIET
        result.parent.write_text("a file has come in between")
        yield from quiet()

    script(monkeypatch, states())
    assert main(["bench", str(folder), "--runs", "1", "--json", str(result)]) == 2
    out, err = capfd.readouterr()
    assert INT8_FILE in out and "verdict " in out
    assert err.splitlines()[-1].startswith(f"edgecnn: error: cannot write {result}: ")


def test_a_sustained_run_in_a_real_process(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "run.json"
    words = [str(folder / INT8_FILE), *SHORT, "--sustained", "0.25", "--json", str(result)]
    assert main(["bench", *words]) == 0
    out, err = capfd.readouterr()
    assert "sustained, time per image: ▁ fastest" in out
    assert f"sustained 1 of 1: {folder / INT8_FILE}" in err
    session = Session.load(result)
    times = [window.at for window in session.measurements[0].sustained]
    assert session.settings.sustained == 0.25
    assert times == sorted(times) and times[-1] >= 0.24


def test_interrupted_in_a_sustained_run_no_process_is_left(folder: Path) -> None:
    words = ["bench", str(folder / INT8_FILE), *SHORT, "--runs", "1", "--sustained", "3600"]
    command = [sys.executable, "-m", "edgecnn", *words]
    pipe = subprocess.PIPE
    bench = subprocess.Popen(
        command, cwd=ROOT, stderr=pipe, stdout=pipe, text=True, process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )  # fmt: skip
    assert bench.stderr is not None
    seen = ""
    while "sustained 1 of 1" not in seen:
        line = bench.stderr.readline()
        assert line, seen
        seen += line
    os.killpg(bench.pid, signal.SIGINT)
    out, err = bench.communicate(timeout=60)
    assert (bench.returncode, out, err.splitlines()[-1]) == (130, "", "edgecnn: interrupted")
    with pytest.raises(ProcessLookupError):
        os.killpg(bench.pid, 0)


def test_a_curve_is_drawn_in_what_standard_output_can_show(folder: Path) -> None:
    words = ["bench", str(folder / INT8_FILE), *SHORT, "--sustained", "0.1"]
    command = [sys.executable, "-m", "edgecnn", *words]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:replace"}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert "sustained, time per image: _ fastest, @ slowest" in run.stdout


@pytest.mark.parametrize(("form", "name"), [("google-benchmark", "run_name"), ("github-action", "name")])
def test_formats_for_other_tools_print_one_document(
    form: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch)
    assert main(["bench", str(folder), "--format", form]) == 0
    document = json.loads(capfd.readouterr().out)
    entries = document["benchmarks"] if form == "google-benchmark" else document
    assert f"b/{INT8_FILE}/litert/batch:1/threads:1" in entries[-1][name]


def test_files_that_nothing_here_can_run_are_left_out_with_a_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch)
    monkeypatch.setattr("edgecnn.measure.cases.installed", lambda: ("litert",))
    other = folder.parent / "a.pte"
    other.write_bytes(b"pte")
    assert main(["bench", str(folder / INT8_FILE), str(other)]) == 0
    out, err = capfd.readouterr()
    assert f"{other} is left out: no runtime for .pte files is installed\n" in err
    assert "a.pte" not in out


def test_a_runtime_that_was_named_and_is_not_there_is_a_failed_row(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ai_edge_litert")
    if importlib.util.find_spec("tflite_runtime"):
        pytest.skip("tflite-runtime is there")
    assert main(["bench", str(folder / INT8_FILE), *SHORT, "--runtime", "tflite-runtime,litert"]) == 1
    out, err = capfd.readouterr()
    assert "FAILED" in out and "the engine tflite-runtime cannot be imported" in out
    assert "1 of 2 failed" in err


def test_every_file_failing_exits_with_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, fails_at="open")
    assert main(["bench", str(folder)]) == 1
    out, err = capfd.readouterr()
    assert out.count("was killed by SIGILL") == 2
    assert "2 of 2 failed" in err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["none.tflite"], "none.tflite is not there; give a bundle folder or a file ending in"),
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
        (["BUNDLE", "--target", "local", "--target", "emulated:cortex-a72", "--json", ""], ". is a folder; give the"),
        (["BUNDLE", "--target", "local", "--target", "emulated:cortex-a72", "--json", "/"], "/ is a folder; give the"),
        (["BUNDLE", "--json", f"FOLDER/{'x' * 245}.json"], ".json: File name too long; choose another place"),
        (["BUNDLE", "--format", "tabel"], "tabel"),
        (["BUNDLE", "--threads", "9" * 5000], "(valid: different whole numbers from 1, with commas)"),
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
