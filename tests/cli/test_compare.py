"""``edgecnn compare`` on small real files and bundles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn.cli.main import main
from edgecnn.data.dataset import DataSet, Memory
from edgecnn.runtime.manifest import Manifest
from tests import tiny_artifacts
from tests.tiny_artifacts import FLOAT_FILE, INT8_FILE, LABELS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


def run_json(capfd: pytest.CaptureFixture[str], *words: object) -> dict:
    assert main(["compare", *map(str, words), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that a refused command leaves."""
    assert main(["compare", *map(str, words)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 1
    assert lines[0].startswith("edgecnn: error: ")
    return lines[0]


def test_a_bundle_against_its_float_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = run_json(capfd, folder / FLOAT_FILE, folder)
    assert document["a"]["recipe"] == "float32"
    assert document["b"]["recipe"] == "static_w8a8"
    assert document["b"]["file"] == str(folder / INT8_FILE)
    assert document["b"]["bytes"] == (folder / INT8_FILE).stat().st_size
    assert document["images"] == 50
    assert document["a"]["accuracy"] == 1.0
    assert document["agreement"] == document["b"]["accuracy"]
    low, high = document["change_interval_points"]
    assert low < document["change_points"] < high
    assert [row["class"] for row in document["classes"]] == list(LABELS)
    assert sum(row["images"] for row in document["classes"]) == 50


def test_two_different_models_show_what_changed(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tiny_artifacts.tflite(tmp_path / "other.tflite", tiny_artifacts.weights(seed=5))
    document = run_json(capfd, folder, other)
    pictures = tiny_artifacts.images(50)
    truth = tiny_artifacts.logits(pictures, tiny_artifacts.weights()).argmax(1)
    answers = tiny_artifacts.logits(pictures, tiny_artifacts.weights(seed=5)).argmax(1)
    right = int((truth == answers).sum())
    assert right < 40
    assert document["b"]["recipe"] is None
    assert document["b"]["right"] == right
    assert document["change_points"] == pytest.approx(100 * (right - document["a"]["right"]) / 50)
    assert document["mcnemar"]["only_a"] - document["mcnemar"]["only_b"] == document["a"]["right"] - right
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (truth, answers), 1)
    assert document["b"]["confusion"] == expected.tolist()

    assert main(["compare", str(folder), str(other)]) == 0
    out = capfd.readouterr().out
    assert f"50 images of insects (the sample in {folder})" in out
    assert f"{2 * right:.2f} %" in out
    assert f"B alone on {document['mcnemar']['only_b']}: the difference is more than chance explains" in out
    for label in LABELS:
        assert label in out


def test_images_limits_the_sample(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_json(capfd, folder, folder, "--images", 7)["images"] == 7
    assert run_json(capfd, folder, folder, "--images", 700)["images"] == 50


def insects(monkeypatch: pytest.MonkeyPatch, count: int = 230, classes: tuple[str, ...] = LABELS) -> None:
    """Register the data set ``insects`` for one test."""
    from edgecnn.data import registry

    pictures = tiny_artifacts.images(count, seed=9)
    labels = tiny_artifacts.logits(pictures, tiny_artifacts.weights()).argmax(1).astype(np.int64)
    split = Memory(pictures, labels)
    monkeypatch.setitem(registry._LOADERS, "insects", lambda: DataSet("insects", classes, (4, 4, 3), split, split, "N"))


def test_two_bare_files_on_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    insects(monkeypatch)
    first = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    second = tiny_artifacts.tflite(tmp_path / "b.tflite", tiny_artifacts.weights(), quantized=True)
    document = run_json(capfd, first, second, "--data", "insects")
    assert (document["images"], document["a"]["accuracy"], document["note"]) == (230, 1.0, "N")
    assert run_json(capfd, first, second, "--data", "insects", "--images", "120")["images"] == 120


def test_a_data_set_of_other_classes_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    insects(monkeypatch, classes=("ant", "bee"))
    assert "classes: 3 in" in refused(capfd, folder, folder, "--data", "insects")
    insects(monkeypatch, classes=("ant", "bee", "cow"))
    assert "ant, bee, cow in data set insects" in refused(capfd, folder, folder, "--data", "insects")


def test_bare_files_without_data_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    assert "give --data DATA" in refused(capfd, path, path)


def test_models_of_different_tasks_are_refused(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wide = tiny_artifacts.tflite(tmp_path / "wide.tflite", tiny_artifacts.weights(image=(4, 8, 3)), image=(4, 8, 3))
    assert f"input size: 4x4x3 in {folder / INT8_FILE} but 4x8x3 in {wide}" in refused(capfd, folder, wide)
    many = tiny_artifacts.tflite(tmp_path / "many.tflite", tiny_artifacts.weights(classes=5))
    assert f"classes: 3 in {folder / INT8_FILE} but 5 in {many}" in refused(capfd, folder, many)
    other = tiny_artifacts.bundle(tmp_path / "other", labels=("ant", "bee", "cow"))
    assert "labels: ant, bee, cat in" in refused(capfd, folder, other)


def test_files_that_are_not_there_or_not_listed_are_refused(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert f"there is no {tmp_path / 'none.tflite'}; give" in refused(capfd, folder, tmp_path / "none.tflite")
    assert "manifest.json" in refused(capfd, folder, tmp_path)
    stray = tiny_artifacts.tflite(folder / "stray.tflite", tiny_artifacts.weights())
    assert f"unknown artifact in {folder} 'stray.tflite'" in refused(capfd, folder, stray)
    (folder / "labels.txt").write_text("ant\nbee\ncow\n")
    assert "SHA-256" in refused(capfd, folder, folder)


def test_the_sample_may_be_in_either_bundle(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    without = tiny_artifacts.bundle(tmp_path / "without")
    manifest = Manifest.load(without)
    (without / "sample.npz").unlink()
    files = tuple(each for each in manifest.files if each.file != "sample.npz")
    replace(manifest, sample=None, files=files).save(without)
    assert run_json(capfd, without, folder)["images"] == run_json(capfd, folder, without)["images"] == 50
    assert "holds no test images" in refused(capfd, without, without)
