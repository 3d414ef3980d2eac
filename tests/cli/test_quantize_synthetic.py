"""``edgecnn quantize --calibration synthetic``: a verified bundle without any data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.data import registry
from edgecnn.evaluate import predictor
from edgecnn.export import source
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.classify import predict
from tests import nets

IMAGES = 32  # fewer than a user gets, to be quick
NO_DATA = "no image of digits was read: calibrated on synthetic images, so the accuracy is unknown"
MEASURED = ("synthetic_images", "float_agreement", "float_sqnr_db")
WORDS = ("--data", "digits", "--calibration", "synthetic", "--format", "tflite")


@pytest.fixture(scope="module")
def made(once):
    """A folder with a ``bundle``, made where reading a data set is an error."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source, "SYNTHETIC_IMAGES", IMAGES)
            patch.setattr(registry, "load", no_data)
            patch.setenv("EDGECNN_DATA", str(folder / "empty"))
            assert main(["quantize", "--model", "mod_cnn", *WORDS, "--out", str(folder / "bundle")]) == 0
            assert not (folder / "empty").exists()

    return once("synthetic", make)


def no_data(*words, **more):
    raise AssertionError("a data set was read")


def refused(capfd, *words):
    """The one line that a refused command leaves."""
    code = main(["quantize", *map(str, words)])
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert (code, out, len(lines)) == (2, "", 1), err
    return lines[0].removeprefix("edgecnn: error: ")


def test_the_bundle_has_no_accuracy_and_no_test_images_and_says_how_it_was_calibrated(made):
    manifest = open_bundle(made / "bundle").manifest
    assert manifest.calibration is not None
    assert (manifest.calibration.images, manifest.calibration.split) == (IMAGES, "synthetic")
    assert (manifest.dataset.name, manifest.dataset.note, manifest.sample) == ("digits", NO_DATA, None)
    assert [artifact.accuracy for artifact in manifest.artifacts] == [None, None]
    assert sorted(path.name for path in (made / "bundle").iterdir()) == [
        "labels.txt", "manifest.json", "mod_cnn_float32.tflite", "mod_cnn_static_w8a8.tflite",
    ]  # fmt: skip
    exact, quantized = ([artifact.gate[name] for name in MEASURED] for artifact in manifest.artifacts)
    assert exact[0] == quantized[0] == IMAGES
    assert exact[1] == 1.0
    assert isinstance(exact[2], float) and isinstance(quantized[2], float) and exact[2] > 90 > 60 > quantized[2] > 15


def test_the_file_agrees_with_float_on_real_images(made):
    bundle = open_bundle(made / "bundle")
    images, _ = nets.digits().test.take(np.arange(450))
    exact = predictor(nets.source("mod_cnn").model)(images)
    with bundle.open(bundle.artifact()) as runner:
        found = predict(runner, images)
    assert np.mean(found.argmax(1) == exact.argmax(1)) >= 0.98
    noise = np.square(found - exact).mean()
    assert 10 * np.log10(np.square(exact).mean() / noise) >= 20


@pytest.mark.usefixtures("stored_conversions")
def test_without_data_and_network_the_table_says_that_the_accuracy_is_unknown(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path / "empty"))
    monkeypatch.setattr(registry, "load", no_data)
    monkeypatch.setattr(source, "SYNTHETIC_IMAGES", IMAGES)
    assert main(["quantize", "--model", "lenet", *WORDS]) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0] == NO_DATA
    assert lines[1] == (
        "lenet, accuracy unknown; agreement and SQNR of the logits against float on 32 synthetic images, other ones "
        "than the 32 that calibrated"
    )
    assert lines[3].split()[:4] == ["file", "recipe", "bytes", "accuracy"]
    assert [line.split()[3] for line in lines[5:7]] == ["unknown", "unknown"]
    assert lines[-1] == "bundle lenet-digits-static_w8a8-synthetic"
    assert NO_DATA in err
    assert not (tmp_path / "empty").exists()

    path = checkpoint.shipped("lenet", "digits")
    words = ["--model", "lenet", "--weights", path, *WORDS[2:], "--json", "--out", tmp_path / "b"]
    assert main(["quantize", *map(str, words)]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["note"] == NO_DATA
    for row in document["files"]:
        assert (row["accuracy"], row["images"]) == (None, IMAGES)
        first = Path("lenet-digits-static_w8a8-synthetic", row["file"])
        assert first.read_bytes() == (tmp_path / "b" / row["file"]).read_bytes()
    assert document["float"]["recipe"] == "float32"
    assert document["agreement"] == document["quantized"]["agreement"] > 0.9
    assert 10 < document["quantized"]["sqnr_db"] < 60


def test_bench_compare_and_report_take_a_bundle_that_was_never_scored(made, tmp_path, capfd):
    folder = str(made / "bundle")
    result = str(tmp_path / "run.json")
    words = ["--runs", "1", "--min-seconds", "0.01", "--runtime", "litert", "--json", result]
    assert main(["bench", folder, *words]) in (0, 3)
    assert capfd.readouterr().out.count("not scored") == 2
    rows = json.loads((tmp_path / "run.json").read_text())["measurements"]
    assert [(row["accuracy"], row["failure"]) for row in rows] == [(None, None), (None, None)]
    assert main(["report", result, "--html", str(tmp_path / "page.html")]) == 0
    assert "not scored" in (tmp_path / "page.html").read_text()
    assert main(["compare-runs", result, result, "--fail-on", "bytes:1%"]) == 0
    capfd.readouterr()

    assert main(["compare", f"{folder}/mod_cnn_float32.tflite", folder]) == 2
    assert "was made without a data set and holds no test images" in capfd.readouterr().err
    assert main(["compare", f"{folder}/mod_cnn_float32.tflite", folder, "--data", "digits", "--images", "50"]) == 0
    assert "50 images of digits (test split)" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--calibration", "syntetic"], "Invalid value for '--calibration': 'syntetic' is neither a number of train"),
        (["--calibration", "1.5"], "Invalid value for '--calibration': '1.5' is neither a number of training images"),
        (["--calibration", "-1"], "Invalid value for '--calibration': -1 is not in the range x>=1; give 1 or more"),
        (["--calibration", "synthetic", "--data", "digits", "--qat"], "--qat and --qat-weights need a data set; give"),
        (
            ["--calibration", "synthetic", "--data", "digits", "--on-broken", "skip"],
            "--on-broken is for images, and --calibration synthetic reads none",
        ),
        (["--calibration", "synthetic"], "--calibration synthetic reads no data set, so '--data auto' cannot choose"),
        (
            ["--calibration", "synthetic", "--data", "digts"],
            "no weights of 'lenet' for data set 'digts' come with edgecnn (valid: cifar10, digits); make them",
        ),
    ],
)
def test_what_cannot_be_is_refused(words, message, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "load", no_data)
    monkeypatch.setattr(source, "without_data", no_data)
    assert refused(capfd, "--model", "lenet", *words).startswith(message)
    assert not list(tmp_path.iterdir())


def test_weights_of_another_data_set_are_refused(tmp_path, capfd):
    path = checkpoint.shipped("lenet", "digits")
    line = refused(capfd, "--model", "lenet", "--calibration", "synthetic", "--weights", path, "--data", "cifar10")
    assert line == f"{path} was trained on digits, not on cifar10; leave --data out"


def test_a_file_of_which_int8_leaves_nothing_is_refused_though_nothing_is_scored(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(source, "SYNTHETIC_IMAGES", IMAGES)
    shipped = checkpoint.shipped("mod_cnn", "digits")
    assert shipped is not None
    header, tensors = checkpoint.load(shipped)
    small = {name: 1e-10 * tensor for name, tensor in tensors.items() if name.startswith("fc1.")}
    weights = tmp_path / "small.safetensors"  # what a ReLU lets through, the next layer makes large again
    checkpoint.save(weights, header, tensors | small | {"fc2.weight": 1e10 * tensors["fc2.weight"]})
    words = ["--model", "mod_cnn", "--weights", str(weights), *WORDS[2:], "--out", str(tmp_path / "bundle")]
    assert main(["quantize", *words]) == 1
    assert (
        "mod_cnn_static_w8a8.tflite: gives the same logits for all 32 images, unlike PyTorch" in capfd.readouterr().err
    )
    assert not (tmp_path / "bundle").exists()
