"""What files and bundles stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgecnn.measure.cases as module
from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.measure.cases import Order, find_cases
from edgecnn.runtime.files import sha256
from tests import tiny_artifacts
from tests.tiny_artifacts import FLOAT_FILE, INT8_FILE

ALL = ("litert", "onnxruntime", "torchscript")


def test_a_bundle_stands_for_all_its_files(tmp_path: Path) -> None:
    folder = tiny_artifacts.bundle(tmp_path / "b")
    first, second = find_cases(Order((folder,), ALL))
    assert (first.file, second.file) == (str(folder / FLOAT_FILE), str(folder / INT8_FILE))
    assert (first.recipe, second.recipe, first.model) == ("float32", "static_w8a8", "tiny")
    assert (first.bundle, first.sha256) == (str(folder), sha256(folder / FLOAT_FILE))
    assert (second.bytes, second.runtime) == ((folder / INT8_FILE).stat().st_size, "litert")
    (alone,) = find_cases(Order((folder / INT8_FILE,), ALL))
    assert alone == second


def test_a_bare_file_is_taken_for_what_it_is(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    cases = find_cases(
        Order(
            (
                path,
                path,
            ),
            ALL,
            (1, 2),
            (1, 8),
        )
    )
    assert [(each.threads, each.batch) for each in cases] == [(1, 1), (1, 8), (2, 1), (2, 8)] * 2
    assert (cases[0].bundle, cases[0].recipe, cases[0].model) == (None, None, None)


def test_a_file_is_measured_in_every_runtime_of_its_format(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    cases = find_cases(Order((path,), ("tflite-runtime", "openvino", "litert", "executorch")))
    assert [each.runtime for each in cases] == ["tflite-runtime", "litert"]


def test_without_a_word_of_runtimes_those_that_are_installed_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    (tmp_path / "a.pte").write_bytes(b"pte")
    paths, told = (path, tmp_path / "a.onnx", tmp_path / "a.pte"), list[str]()
    monkeypatch.setattr(module, "installed", lambda: ("litert", "onnxruntime", "openvino"))
    cases = find_cases(Order(paths), told.append)
    assert [(Path(each.file).name, each.runtime) for each in cases] == [
        ("a.tflite", "litert"), ("a.onnx", "onnxruntime"), ("a.onnx", "openvino"),
    ]  # fmt: skip
    assert told == [f"{tmp_path / 'a.pte'} is left out: no runtime for .pte files is installed"]
    monkeypatch.setattr(module, "installed", lambda: ())
    with pytest.raises(UsageError, match="can run in what is installed; .* see what 'edgecnn doctor'"):
        find_cases(Order(paths))


def test_a_runtime_that_was_named_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    monkeypatch.setattr(module, "installed", lambda: ())
    assert [each.runtime for each in find_cases(Order((path,), ("tflite-runtime",)))] == ["tflite-runtime"]


def test_what_is_no_file_to_measure_is_refused(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    with pytest.raises(UnknownNameError, match="unknown runtime 'litertt'; did you mean 'litert'"):
        find_cases(Order((path,), ("litertt",)))
    with pytest.raises(UsageError, match="none of the 1 files can run in onnxruntime"):
        find_cases(Order((path,), ("onnxruntime",)))
    for wrong, what in ((tmp_path / "none.tflite", "is not there; give"), (Path(__file__), "is not")):
        with pytest.raises(BadFileError, match=f"{wrong} {what} a bundle folder or a file ending in"):
            find_cases(Order((wrong,), ALL))
    with pytest.raises(BadFileError, match="manifest.json"):
        find_cases(Order((tmp_path,), ALL))
