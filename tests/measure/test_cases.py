"""What files and bundles stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_what_is_no_file_to_measure_is_refused(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    with pytest.raises(UnknownNameError, match="unknown runtime 'litertt'; did you mean 'litert'"):
        find_cases(Order((path,), ("litertt",)))
    with pytest.raises(UsageError, match="none of the 1 files can run in onnxruntime"):
        find_cases(Order((path,), ("onnxruntime",)))
    for wrong in (tmp_path / "none.tflite", Path(__file__)):
        with pytest.raises(BadFileError, match="is not a bundle folder or a file ending in"):
            find_cases(Order((wrong,), ALL))
    with pytest.raises(BadFileError, match="manifest.json"):
        find_cases(Order((tmp_path,), ALL))
