"""The suite: what a machine is called, what it writes, and the peers' bundle; on small files and scripted machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import bundles, peers, suite, summary
from edgecnn import checkpoint
from edgecnn.data.dataset import DataSet, Memory
from edgecnn.errors import BadFileError, CheckFailedError, UsageError
from edgecnn.export import bundle as export_bundle
from edgecnn.measure.bench import bench
from edgecnn.measure.machine import Machine, State
from edgecnn.measure.measurement import Session
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8, Recipe
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.classify import predict
from edgecnn.runtime.manifest import Dataset, Manifest
from tests import tiny_artifacts
from tests.measure.scripted import MACHINE, QUIET, ScriptedWorker, after, quiet, surroundings

XEON = dataclasses.replace(
    MACHINE, board="QEMU Standard PC", cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", architecture="x86_64",
    cores=2, features=("avx2", "avx_vnni", "avx512_vnni", "amx_int8"),
)  # fmt: skip
PI = dataclasses.replace(MACHINE, board="Raspberry Pi 5 Model B Rev 1.0")


def insects(count: int = 200) -> DataSet:
    """Test images of the small bundles' task, labelled by the float classifier, but for one image."""
    pictures = tiny_artifacts.images(count, seed=5)
    labels = tiny_artifacts.logits(pictures, tiny_artifacts.weights()).argmax(1).astype(np.int64)
    labels[0] = (labels[0] + 1) % 3
    return DataSet(
        "insects", tiny_artifacts.LABELS, tiny_artifacts.IMAGE, Memory(pictures, labels), Memory(pictures, labels)
    )


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite whose bundles are small and whose machine is scripted."""

    def bundle(model: str, _data: str, _cache: Path, _formats: object = (), recipe: Recipe = STATIC_W8A8) -> Path:
        folder = tiny_artifacts.bundle(tmp_path / f"made-{model}-{recipe.name}")
        manifest = open_bundle(folder).manifest
        plain, small = manifest.artifacts
        named = (plain, dataclasses.replace(small, recipe=recipe.name))
        dataclasses.replace(manifest, recipe=recipe.name, artifacts=named).save(folder)
        return folder

    script(monkeypatch, quiet())
    monkeypatch.setattr(suite, "bundle", bundle)
    monkeypatch.setattr(suite, "load", lambda _name: insects())
    monkeypatch.setattr(suite, "read_machine", lambda: MACHINE)
    return tmp_path / "results"


def script(monkeypatch: pytest.MonkeyPatch, states: Iterator[State]) -> None:
    around = surroundings(lambda _case: ScriptedWorker(100.0), states)
    monkeypatch.setattr(suite, "bench", partial(bench, surroundings=around))


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (XEON, "intel-xeon-platinum-8481c-avx512-vnni-amx-int8-2cpu"),
        (PI, "raspberry-pi-5-model-b-rev-1-0-asimddp-4cpu"),
        (dataclasses.replace(MACHINE, board=None, cpu="Cortex-A72", features=()), "cortex-a72-4cpu"),
    ],
)
def test_a_machine_is_called_by_what_it_is(machine: Machine, name: str) -> None:
    assert suite.folder_name(machine) == name


def test_the_suite_writes_what_it_found(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert suite.main(["--models", "lenet", "--data", "insects", "--out", str(small)]) == 0
    folder = small / "board-1-asimddp-4cpu"
    assert capsys.readouterr().out == f"{folder}\n"
    assert {path.name for path in folder.iterdir()} == {"bench.json", "accuracy.json", "report.md", "report.html"}
    found = Session.load(folder / "bench.json")
    assert [row.case.file for row in found.measurements if row.case.runtime == "litert"] == [
        f"lenet-insects/{tiny_artifacts.FLOAT_FILE}",
        f"lenet-insects/{tiny_artifacts.INT8_FILE}",
        f"lenet-insects-static_w4a8/{tiny_artifacts.INT8_FILE}",
    ]
    assert found.thinned == suite.KEEP
    rows = json.loads((folder / "accuracy.json").read_text())
    assert [(row["recipe"], row["images"], row["float_accuracy"]) for row in rows] == [
        ("static_w8a8", 200, 0.995),
        ("static_w4a8", 200, 0.995),
    ]
    assert tiny_artifacts.INT8_FILE in (folder / "report.md").read_text()


def test_results_are_replaced_only_by_force(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "board-1-asimddp-4cpu").mkdir(parents=True)
    (small / "board-1-asimddp-4cpu" / "bench.json").write_text("{}")
    words = ["--models", "lenet", "--data", "insects", "--out", str(small)]
    assert suite.main(words) == 2
    assert "bench.json already exists" in capsys.readouterr().err
    assert suite.main([*words, "--force"]) == 0


def test_an_invalid_suite_writes_nothing(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, iter([QUIET, after(throttled=0x50005)]))
    assert suite.main(["--models", "lenet", "--data", "insects", "--out", str(small), "--runs", "1"]) == 3
    assert not small.exists()


def test_scores_are_of_all_test_images_and_paired(tmp_path: Path) -> None:
    row = summary.score(tiny_artifacts.bundle(tmp_path / "b"), insects())
    assert (row.model, row.data, row.images, row.float_accuracy) == ("tiny", "insects", 200, 0.995)
    assert row.change == pytest.approx(100 * (row.quantized_accuracy - row.float_accuracy))
    low, high = row.change_interval
    assert low <= row.change <= high
    turned = dataclasses.replace(insects(), classes=tiny_artifacts.LABELS[::-1])
    with pytest.raises(UsageError, match="knows the classes ant, bee, cat, but insects has cat, bee, ant"):
        summary.score(tmp_path / "b", turned)


def test_a_bundle_is_made_once_until_something_that_makes_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def write(_orders: object, _recipe: object, _source: object, out: Path, **_rest: object) -> list[object]:
        made.append(out.name)
        out.mkdir(parents=True)
        return []

    weights = tmp_path / "lenet.safetensors"
    shipped = checkpoint.shipped("lenet", "digits")
    assert shipped is not None
    header, tensors = checkpoint.load(shipped)
    checkpoint.save(weights, header, tensors)
    monkeypatch.setattr(bundles, "load_source", lambda *_words: None)
    monkeypatch.setattr(bundles, "write_bundle", write)
    monkeypatch.setattr(checkpoint, "shipped", lambda model, data: weights if data == "digits" else None)
    first = bundles.bundle("lenet", "digits", tmp_path)
    assert bundles.bundle("lenet", "digits", tmp_path) == first and first.name == "lenet-digits"
    assert bundles.bundle("lenet", "digits", tmp_path, ("tflite",)) != first
    assert bundles.bundle("lenet", "digits", tmp_path, recipe=STATIC_W4A8) != first
    checkpoint.annotate(weights, {"static_w8a8_accuracy": 0.5})  # the weights and what is expected of them are the same
    assert bundles.bundle("lenet", "digits", tmp_path) == first
    checkpoint.annotate(weights, {"test_accuracy": 0.5})
    expecting = bundles.bundle("lenet", "digits", tmp_path)
    checkpoint.save(weights, checkpoint.load(weights)[0], {"others": torch.zeros(1)})
    assert len({first, expecting, bundles.bundle("lenet", "digits", tmp_path)}) == 3
    monkeypatch.setattr(bundles, "TOOLS", (*export_bundle.TOOLS, "pytest"))
    bundles.bundle("lenet", "digits", tmp_path)
    assert len(made) == 6
    with pytest.raises(BadFileError, match="no weights of 'lenet' for data set 'cifar10'"):
        bundles.bundle("lenet", "cifar10", tmp_path)


def test_a_bundle_without_a_file_that_failed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_orders: object, _recipe: object, _source: object, out: Path, **_rest: object) -> list[object]:
        out.mkdir(parents=True)
        return [SimpleNamespace(failure=None), SimpleNamespace(failure="lenet_static_w8a8.onnx is no match")]

    monkeypatch.setattr(bundles, "load_source", lambda *_words: None)
    monkeypatch.setattr(bundles, "write_bundle", write)
    for _ in range(2):
        with pytest.raises(CheckFailedError, match="lenet_static_w8a8.onnx is no match"):
            bundles.bundle("lenet", "digits", tmp_path)


def test_peers_take_pixels_as_they_are_and_our_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tiny_artifacts.bundle(tmp_path / "ours")
    manifest = Manifest.load(ours)
    dataclasses.replace(manifest, dataset=Dataset("cifar10", "", 3)).save(ours)
    monkeypatch.setattr(peers, "IMAGE", dataclasses.replace(peers.IMAGE, height=4, width=4))
    folder = tmp_path / "peers" / "mlperf_tiny"
    folder.mkdir(parents=True)
    matrix = tiny_artifacts.weights()
    tiny_artifacts.tflite(folder / "resnet8_float32.tflite", matrix)
    with pytest.raises(BadFileError, match="resnet8_int8.tflite is not there; give --peers a folder with"):
        peers.write_peers(tmp_path / "peers", tmp_path / "half", ours)
    tiny_artifacts.tflite(
        folder / "resnet8_int8.tflite", matrix, quantized=True, input_scale=1.0, input_zero_point=-128
    )
    theirs = open_bundle(peers.write_peers(tmp_path / "peers", tmp_path / "theirs", ours))
    assert theirs.manifest.model == dataclasses.replace(
        theirs.manifest.model, name="mlperf_tiny_resnet8", parameters=3 * 48 + 3, macs=3 * 48
    )
    images, labels = theirs.sample()
    assert np.array_equal(images, open_bundle(ours).sample()[0]) and len(labels) == 50
    with theirs.open(theirs.artifact("static_w8a8")) as runner:
        pixels = np.arange(48, dtype=np.uint8).reshape(1, *tiny_artifacts.IMAGE)
        expected = pixels.reshape(1, -1).astype(float) @ matrix.T.astype(float) * tiny_artifacts.WEIGHT_SCALE
        assert (runner.input.offset, runner.input.divisor) == (0, 1) and runner.input.zero_point == -128
        clipped = np.clip(expected, -128 * tiny_artifacts.OUTPUT_SCALE, 127 * tiny_artifacts.OUTPUT_SCALE)
        assert np.abs(predict(runner, pixels) - clipped).max() <= tiny_artifacts.OUTPUT_SCALE
    with pytest.raises(UsageError, match="the peers were trained on cifar10, not on insects"):
        peers.write_peers(tmp_path / "peers", tmp_path / "no", tiny_artifacts.bundle(tmp_path / "insects"))
