"""``edgecnn profile`` on small real files, and its exit codes on a scripted machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import edgecnn.measure.profile
from edgecnn.cli.main import main
from edgecnn.measure.profile import profile
from tests import tiny_artifacts, tiny_graphs
from tests.measure.scripted import QUIET, after, quiet
from tests.measure.test_profile import Workers, around


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.tflite"
    path.write_bytes(tiny_graphs.classifier(quantized=True))
    return path


def script(monkeypatch: pytest.MonkeyPatch, workers: Workers, states: Iterator | None = None) -> None:
    """Replace processes and machine."""
    monkeypatch.setattr(
        edgecnn.measure.profile, "profile", partial(profile, surroundings=around(workers, states or quiet()))
    )


def test_a_real_file_with_an_operation_outside_the_delegate(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(path), "--runs", "1"]) == 0
    out, err = capfd.readouterr()
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert any(row.startswith("1 CONV_2D int8 1x6x6x4 conv1 inside 3.9 ") for row in rows)
    assert any(row.startswith("2 AVERAGE_POOL_2D int8 1x3x3x4 pool1 outside ") for row in rows)
    assert any(row.startswith("- the whole file 2 partitions 4.0 ") for row in rows)
    assert err.splitlines()[-1] == "run 1 of 1"


def test_json_is_one_document(path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    script(monkeypatch, Workers())
    assert main(["profile", str(path), "--json"]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert [each["name"] for each in document["operations"]][:2] == ["CONV_2D", "AVERAGE_POOL_2D"]
    assert len(document["whole"]) == 5
    assert "run 5 of 5" in err


def test_a_bundle_stands_for_the_file_of_its_recipe(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tiny_artifacts.bundle(tmp_path / "b")
    assert main(["profile", str(folder), "--runs", "1", "--batch", "4"]) == 0
    out, _ = capfd.readouterr()
    assert out.startswith(f"b/{tiny_artifacts.INT8_FILE} in ") and "1 thread, batch 4" in out
    assert "FULLY_CONNECTED" in out


def test_an_invalid_profile_exits_with_3(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, Workers(), iter([QUIET, after(throttled=0x50005)]))
    assert main(["profile", str(path), "--runs", "1"]) == 3
    out, err = capfd.readouterr()
    assert out.startswith("INVALID: under-voltage during the run; throttled during the run")
    assert err.splitlines()[-1].startswith("edgecnn: error: the figures are INVALID")


def test_a_crash_of_the_engine_is_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script(monkeypatch, Workers(("prefix", 2)))
    assert main(["profile", str(path)]) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line == f"edgecnn: error: {path} cut after operation 2 it was killed by SIGSEGV"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["none.tflite"], "none.tflite is not there; give a bundle folder or a file ending in"),
        (["BAD"], "is not a TFLite file"),
        (["REFUSED"], "operation 2, SIGN: it is none of the"),
        (["REFUSED", "--target", "emulated:cortex-a72"], "operation 2, SIGN: it is none of the"),
        (["FILE", "--threads", "99999"], "--threads 99999 is more than the"),
        (["FILE", "--pin", "99999"], "--pin 99999 names a CPU that this process may not use"),
        (["FILE", "--runs", "0"], "--runs"),
        (["FILE", "--batch", "0"], "--batch"),
        (["FILE.onnx"], "none of the 1 files can run in litert"),
        ([], "BUNDLE_OR_FILE"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    path: Path, words: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (path.parent / "bad.tflite").write_bytes(b"damage" * 40)
    (path.parent / "refused.tflite").write_bytes(tiny_graphs.skip_connection())
    (path.parent / "a.tflite.onnx").write_bytes(b"onnx")
    for word, name in (("FILE", "a"), ("BAD", "bad"), ("REFUSED", "refused")):
        words = [each.replace(word, str(path.parent / f"{name}.tflite")) for each in words]
    assert main(["profile", *words]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err
