"""What a board's answers to the self-test must be: the same for exact files, close for others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn.deploy.self_test import BUNDLE, EXPECTED, INEXACT_STEPS, Report, expect, self_test
from edgecnn.errors import CheckFailedError
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.tflite_file import TFLiteFile
from tests import tiny_artifacts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_artifacts.bundle(tmp_path / BUNDLE)
    return tmp_path


def test_an_exact_file_may_not_differ_at_all(folder: Path) -> None:
    expected = expect(open_bundle(folder / BUNDLE), folder)
    assert expected.largest_difference == 0
    found = self_test(folder)
    found.check(expected, "pi")
    outputs = np.load(folder / EXPECTED)
    outputs[0, 0] += 1
    np.save(folder / EXPECTED, outputs)
    with pytest.raises(CheckFailedError, match=r"outputs differ by up to 1 \(allowed: 0\)"):
        self_test(folder).check(expected, "pi")


def test_others_may_differ_by_a_few_steps_and_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TFLiteFile, "exact", property(lambda self: False))
    assert expect(open_bundle(folder / BUNDLE), folder).largest_difference == INEXACT_STEPS
    expected = Report(200, 150, "litert", INEXACT_STEPS)
    replace(expected, correct=142).check(expected, "pi")
    for wrong in (
        replace(expected, correct=141), replace(expected, correct=None), replace(expected, images=199),
        replace(expected, largest_difference=INEXACT_STEPS + 1.0), replace(expected, largest_difference=-1.0),
    ):  # fmt: skip
        with pytest.raises(CheckFailedError, match="the self-test failed"):
            wrong.check(expected, "pi")


def test_as_many_must_be_right_where_outputs_are_floats_or_exact() -> None:
    for allowed in (0.0, 1e-4):
        expected = Report(1000, 900, "litert", allowed)
        replace(expected, largest_difference=0.0).check(expected, "pi")
        with pytest.raises(CheckFailedError):
            replace(expected, correct=899, largest_difference=0.0).check(expected, "pi")
