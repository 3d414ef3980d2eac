"""``edgecnn export``: float files in a bundle."""

from __future__ import annotations

import json

import pytest

from edgecnn.cli.main import main
from edgecnn.runtime.bundle import open_bundle

WORDS = ["export", "--model", "lenet", "--data", "digits"]


def test_formats_are_chosen(tmp_path, capfd):
    out = tmp_path / "b"
    assert main([*WORDS, "--format", "torchscript", "--out", str(out), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [(row["file"], row["recipe"]) for row in document["files"]] == [("lenet_float32.torchscript", "float32")]
    assert document["float"] == document["files"][0]
    assert document["float"]["gate"]["max_logit_difference"] <= 1e-4
    assert not {"quantized", "agreement"} & set(document)
    manifest = open_bundle(out).manifest
    assert (manifest.recipe, manifest.calibration, manifest.passes) == ("float32", None, ())


@pytest.mark.usefixtures("stored_conversions")
def test_the_table(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "--format", "torchscript,tflite"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("lenet on the 450 test images of digits")
    assert lines[4].startswith("lenet_float32.tflite ")
    assert lines[5].startswith("lenet_float32.torchscript ")
    assert lines[-1] == "bundle lenet-digits-float32"
    assert len(open_bundle(tmp_path / "lenet-digits-float32").manifest.artifacts) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "tensorflow"], "unknown format 'tensorflow'"),
        (["--passes", "pair"], "unknown pass 'pair'"),
        (["--passes", "pair_columns", "--format", "onnx"], "--passes pair_columns rewrites TFLite files, and no file"),
        (["--model", "resnet"], "unknown model 'resnet'; did you mean 'resnet8'?"),
        (["--recipe", "float16"], "No such option"),
    ],
)
def test_bad_names_are_refused(words, message, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"edgecnn: error: {message}")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
