"""``edgecnn quantize``: from weights to a bundle, and every way to ask for it wrongly."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import edgecnn
from edgecnn import checkpoint, models
from edgecnn.cli.bundle_text import text
from edgecnn.cli.main import main
from edgecnn.data import registry
from edgecnn.errors import CheckFailedError
from edgecnn.export import onnx, tflite
from edgecnn.export.drafts import Order
from edgecnn.export.judge import Judged
from edgecnn.measure.accuracy import Score
from edgecnn.models import ModelArguments
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.manifest import MANIFEST, Artifact, InputTensor
from edgecnn.runtime.preprocess import OutputSpec
from tests import nets
from tests.export import breaking

ROOT = Path(edgecnn.__file__).parent.parent
PROGRESS = ("INFO:", "making and checking ", "scoring on ")
TORCH_LOG = re.compile(r"[WI]\d{4} ")  # torch logs to the stream it finds at import; a real run's is captured
FAST = ("--model", "lenet", "--data", "digits", "--format", "tflite")


def run(capfd, *words):
    """Exit code, standard output, and the lines of standard error that are neither progress nor torch's log."""
    code = main(["quantize", *map(str, words)])
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith(PROGRESS) and not TORCH_LOG.match(line)]
    return code, out, lines


def refused(capfd, *words, code=2):
    """The one line that a refused command leaves."""
    found, out, lines = run(capfd, *words)
    assert (found, out) == (code, "")
    assert len(lines) == 1, lines
    assert lines[0].startswith("edgecnn: error: ")
    return lines[0].removeprefix("edgecnn: error: ")


@pytest.fixture
def no_work(monkeypatch):
    """Let anything that takes long fail."""

    def work(*words, **more):
        raise AssertionError("long work began")

    monkeypatch.setattr(registry, "load", work)
    monkeypatch.setattr(tflite, "convert_float", work)


# ---------------------------------------------------------------------------------------------- what comes out


def test_json_is_one_document_and_nothing_else(whole_run):
    document = json.loads((whole_run / "out").read_text())
    assert document["dataset"] == "digits"
    assert Path(document["bundle"]).name == "bundle"
    floats, quantized = document["float"], document["quantized"]
    assert (floats["recipe"], quantized["recipe"]) == ("float32", "static_w8a8")
    assert (floats["format"], quantized["format"]) == ("tflite", "tflite")
    bundle = open_bundle(whole_run / "bundle")
    for row in (floats, quantized):
        assert row["bytes"] == (whole_run / "bundle" / row["file"]).stat().st_size
        artifact = bundle.file(row["file"])
        assert artifact.accuracy is not None
        assert row["accuracy"] == artifact.accuracy.correct / 450
        assert row["images"] == 450
        assert row["failure"] is None
    assert quantized["bytes"] <= 0.32 * floats["bytes"]
    assert document["agreement"] == quantized["agreement"] >= 0.97
    low, high = quantized["change_interval_points"]
    assert low < quantized["change_points"] < high
    assert quantized["change_points"] == pytest.approx(100 * (quantized["accuracy"] - floats["accuracy"]))
    assert [(row["format"], row["recipe"]) for row in document["files"]] == [
        (format, recipe) for format in ("tflite", "torchscript", "onnx") for recipe in ("float32", "static_w8a8")
    ]
    assert (whole_run / "err").read_text().splitlines()[-1] == "scoring on 450 test images"


def test_compare_takes_two_artifacts_of_a_real_bundle(whole_run, capfd):
    folder = whole_run / "bundle"
    first, second = (str(folder / name) for name in ("lenet_float32.tflite", "lenet_static_w8a8.onnx"))
    assert main(["compare", first, second, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    rows = {row["file"]: row for row in json.loads((whole_run / "out").read_text())["files"]}
    assert document["a"]["accuracy"] == rows["lenet_float32.tflite"]["accuracy"]
    assert document["b"]["accuracy"] == rows["lenet_static_w8a8.onnx"]["accuracy"]
    assert document["agreement"] == rows["lenet_static_w8a8.onnx"]["agreement"]
    assert main(["compare", str(folder), str(folder / "lenet_static_w8a8.torchscript"), "--images", "40"]) == 0
    assert "40 images of digits" in capfd.readouterr().out


@pytest.mark.usefixtures("stored_conversions")
def test_the_table_and_the_path_of_the_bundle(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, lines = run(capfd, *FAST)
    assert (code, lines) == (0, [])
    rows = out.splitlines()
    title = "lenet on the 450 test images of digits; change and agreement against the float32 TFLite file"
    assert rows[0] == title
    assert rows[2].split("  ")[0] == "file"
    assert rows[4].startswith("lenet_float32.tflite ")
    assert rows[5].startswith("lenet_static_w8a8.tflite  static_w8a8  ")
    assert rows[-1] == "bundle lenet-digits-static_w8a8"
    open_bundle(tmp_path / "lenet-digits-static_w8a8")


def test_the_table_fits_120_columns():
    labels = np.arange(450) % 10
    score, wrong = Score(labels, labels), Score((labels + 1) % 10, labels)
    judged: list[Judged] = []
    for format in ("tflite", "torchscript", "onnx"):
        for recipe in (FLOAT32, STATIC_W8A8):
            order = Order(format, recipe)
            file = order.file("depthwise")
            artifact = Artifact(file, format, recipe.name, 1_234_567, 64 * "0", InputTensor(), OutputSpec())
            judged.append(Judged(order, file, 123_456.7, artifact, wrong if judged else score))
    judged[3] = dataclasses.replace(judged[3], artifact=None, score=None, failure="x" * 300)
    lines = text(judged, nets.source("depthwise"), Path("depthwise-cifar10-static_w8a8")).splitlines()
    table = lines[2:10]
    assert "FAILED" in table[5]
    assert max(map(len, table)) <= 120
    assert lines[-2] == "depthwise_static_w8a8.torchscript: " + "x" * 300
    assert lines[-1] == "bundle depthwise-cifar10-static_w8a8"


# ----------------------------------------------------------------------------------------------- what fails


@pytest.mark.usefixtures("stored_conversions")
def test_a_format_that_fails_is_a_row_and_the_exit_code_tells(tmp_path, capfd, monkeypatch):
    def broken(graph_module, arguments):
        raise CheckFailedError("the ONNX export failed: no such operator")

    monkeypatch.setattr(onnx, "convert_float", broken)
    monkeypatch.setattr(onnx, "convert_quantized", broken)
    words = ["--model", "lenet", "--data", "digits", "--out", tmp_path / "b"]
    code, out, lines = run(capfd, *words, "--format", "onnx,tflite", "--json")
    assert code == 1
    assert lines == ["edgecnn: error: 2 of 4 files failed: the ONNX export failed: no such operator"]
    files = {row["file"]: row["failure"] for row in json.loads(out)["files"]}
    assert files == {
        "lenet_float32.tflite": None,
        "lenet_static_w8a8.tflite": None,
        "lenet_float32.onnx": "the ONNX export failed: no such operator",
        "lenet_static_w8a8.onnx": "the ONNX export failed: no such operator",
    }
    assert [artifact.format for artifact in open_bundle(tmp_path / "b").manifest.artifacts] == ["tflite", "tflite"]

    code, out, lines = run(capfd, *words, "--format", "onnx,tflite", "--force")
    assert code == 1
    assert out.count("FAILED") == 2
    assert "lenet_float32.onnx: the ONNX export failed: no such operator" in out
    assert out.splitlines()[-1] == f"bundle {tmp_path / 'b'}"


@pytest.mark.usefixtures("stored_conversions")
def test_a_main_file_that_fails_its_gate_leaves_no_bundle(tmp_path, capfd, monkeypatch):
    convert = tflite.convert_quantized
    monkeypatch.setattr(tflite, "convert_quantized", lambda *words: breaking.with_bias_scale(convert(*words), 2, 0.66))
    line = refused(capfd, *FAST, "--out", tmp_path / "b", "--json", code=1)
    assert line.startswith("no bundle was written: lenet_static_w8a8.tflite: the bias scale of layer conv2 (CONV_2D)")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "lenett"], "unknown model 'lenett'; did you mean 'lenet'? (valid: "),
        (["--recipe", "static_w8a9"], "unknown recipe 'static_w8a9'; did you mean 'static_w8a8'? (valid: "),
        (["--recipe", "int8"], "unknown recipe 'int8'; did you mean 'static_w8a8'? (valid: "),
        (["--format", "tflight"], "unknown format 'tflight'; did you mean 'tflite'? (valid: onnx, tflite, torch"),
        (["--format", "onnx,tf"], "unknown format 'tf'"),
        (["--format", "none"], "no format was asked for; give one or more of tflite, torchscript, onnx"),
        (["--format", "onnx", "--recipe", "float16"], "recipe float16 exists only as tflite; add tflite to"),
        (["--passes", "pair_columns,pool_as_con"], "unknown pass 'pool_as_con'; did you mean 'pool_as_conv'? (valid: "),
        (["--engine", "qnnpak"], "unknown quantized engine 'qnnpak'; did you mean 'qnnpack'? (valid: "),
        (["--format", "tflite", "--engine", "qnnpack"], "--engine qnnpack is for quantized TorchScript, and no file"),
        (["--format", "onnx", "--passes", "equalize,pair_columns"], "--passes equalize,pair_columns rewrites TFLite"),
        (["--recipe", "float16", "--calibration", "64"], "--calibration finds ranges, and recipe float16 needs none;"),
        (["--calibration", "0"], "Invalid value for '--calibration': 0 is not in the range x>=1"),
        (["--weights", "nowhere.safetensors"], "cannot read weights nowhere.safetensors: No such file or directory"),
        (["--out", "."], ". already exists; choose another place or pass --force to replace it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_before_any_long_work(words, message, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(capfd, "--model", "lenet", "--data", "digits", *words).startswith(message)
    assert not list(tmp_path.iterdir())


def test_an_unknown_data_set_is_told_the_nearest(tmp_path, capfd):
    line = refused(capfd, "--model", "lenet", "--data", "digts", "--out", tmp_path / "b")
    assert line.startswith("unknown data set 'digts'; did you mean 'digits'?")
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------- the weights


def header(model="lenet", arguments=None, classes=tuple("0123456789"), dataset="digits"):
    return checkpoint.Header(model, arguments or ModelArguments(len(classes)), dataset, classes, {})


def saved(path, head, change=None):
    """A weights file with fresh weights of the model in ``head``, its tensors put through ``change``."""
    tensors = models.create(head.model, head.arguments).state_dict()
    checkpoint.save(path, head, tensors if change is None else change(tensors))
    return path


def refused_weights(capfd, path, *words, **more):
    line = refused(capfd, *FAST, "--weights", path, "--out", path.parent / "b", *words, **more)
    assert not (path.parent / "b").exists()
    return line


def test_truncated_and_foreign_weights(tmp_path, capfd):
    shipped = checkpoint.shipped("lenet", "digits")
    assert shipped is not None
    path = tmp_path / "w.safetensors"
    for size in (0, 5, 2000, shipped.stat().st_size - 1):
        path.write_bytes(shipped.read_bytes()[:size])
        assert "is not a whole safetensors file" in refused_weights(capfd, path)
    path.write_bytes(b"PK\x03\x04 a pickle in a zip" * 100)
    assert "is not a whole safetensors file" in refused_weights(capfd, path)
    save_file({"a": torch.zeros(3)}, path)
    assert "holds tensors but no edgecnn header" in refused_weights(capfd, path)
    (tmp_path / "folder").mkdir()
    assert "Is a directory" in refused_weights(capfd, tmp_path / "folder")


def test_weights_that_do_not_fit_name_the_first_tensor_and_both_shapes(tmp_path, capfd):
    path = saved(tmp_path / "w.safetensors", header("depthwise"))
    line = refused_weights(capfd, path)
    assert "(weights of 'depthwise') does not fit the model: " in line
    assert "conv1.weight" in line and "6x3x5x5" in line

    saved(path, header(), lambda tensors: tensors | {"conv2.weight": torch.zeros(16, 6, 3, 3)})
    assert "tensor 'conv2.weight' is 16x6x3x3 in the file and 16x6x5x5 in the model" in refused_weights(capfd, path)
    saved(path, header(), lambda tensors: {name: tensors[name] for name in tensors if name != "fc3.bias"})
    assert "it has no tensor 'fc3.bias' 10" in refused_weights(capfd, path)
    saved(path, header(), lambda tensors: tensors | {"more": torch.zeros(2)})
    assert "the model has no tensor 'more'" in refused_weights(capfd, path)


def test_weights_for_another_data_set(tmp_path, capfd):
    path = saved(tmp_path / "w.safetensors", header(classes=("cat", "dog"), dataset="pets"))
    assert refused_weights(capfd, path) == (
        "the weights of 'lenet' are for 2 classes and images of 32x32x3, but data set digits has 10 classes and "
        "32x32x3; give --data pets"
    )
    saved(path, header(classes=tuple("abcdefghij"), dataset="letters"))
    assert refused_weights(capfd, path) == (
        "the weights of 'lenet' know the classes a, b, c, d ..., but data set digits has 0, 1, 2, 3 ...; "
        "give --data letters"
    )
    saved(path, header(arguments=ModelArguments(10, 1, (28, 28))))
    assert refused(capfd, *FAST, "--weights", path).startswith("data set 'digits' has images of 32x32x3, not 28x28x1")


@pytest.mark.usefixtures("stored_conversions")
def test_weights_that_are_no_numbers(tmp_path, capfd):
    def spoiled(tensors):
        tensors["conv2.weight"][0, 0, 0, 0] = float("nan")
        return tensors

    path = saved(tmp_path / "w.safetensors", header(), spoiled)
    assert "the output of 'conv2' is not finite" in refused_weights(capfd, path, code=1)


# --------------------------------------------------------------------------------------------------- the output


@pytest.mark.usefixtures("stored_conversions")
def test_an_existing_output_is_replaced_only_by_force_and_only_by_a_whole_bundle(tmp_path, capfd, monkeypatch):
    out = tmp_path / "b"
    out.mkdir()
    (out / MANIFEST).write_text("kept")
    words = [*FAST, "--out", out]
    assert refused(capfd, *words).startswith(f"{out} already exists; ")
    convert = tflite.convert_quantized
    with monkeypatch.context() as broken:
        broken.setattr(tflite, "convert_quantized", lambda *words: breaking.with_bias_scale(convert(*words), 2, 2.0))
        assert "no bundle was written" in refused(capfd, *words, "--force", code=1)
    assert [path.read_text() for path in out.iterdir()] == ["kept"]
    assert run(capfd, *words, "--force")[0] == 0
    open_bundle(out)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert refused(capfd, *words).startswith(f"{out} already exists; ")


def test_an_output_that_cannot_be_made_is_refused_before_any_conversion(tmp_path, capfd, monkeypatch):
    def work(*words):
        raise AssertionError("long work began")

    monkeypatch.setattr(tflite, "convert_float", work)
    (tmp_path / "file").write_text("kept")
    below = tmp_path / "file" / "b"
    assert refused(capfd, *FAST, "--out", below).startswith(f"cannot write {below}: ")
    if Path("/proc/self").exists():
        assert refused(capfd, *FAST, "--out", "/proc/nowhere/b").startswith("cannot write /proc/nowhere/b: ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("stored_conversions")
@pytest.mark.parametrize(("function", "call"), [("fsync", 1), ("fsync", 3), ("rename", 1)])
def test_a_full_disk_leaves_nothing(function, call, tmp_path, capfd, monkeypatch):
    real, calls = getattr(os, function), []

    def full(*words):
        if tmp_path.is_dir() and any(tmp_path.iterdir()):  # not while a fixture writes elsewhere
            calls.append(words)
            if len(calls) == call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*words)

    monkeypatch.setattr(os, function, full)
    line = refused(capfd, *FAST, "--out", tmp_path / "b")
    assert line.startswith("cannot write ")
    assert line.endswith(": No space left on device; free the space or choose another place")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ interruptions


def started(out):
    """A real quantize that has made its temporary folder and begun to convert."""
    command = [sys.executable, "-m", "edgecnn", "quantize", *FAST, "--out", str(out), "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "making and checking lenet_float32.tflite\n"
    assert not out.exists()
    assert len(list(out.parent.iterdir())) == 1
    return process


def test_a_kill_leaves_no_bundle(tmp_path):
    with started(tmp_path / "b") as process:
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
    assert (process.returncode, out) == (-signal.SIGKILL, "")
    assert not (tmp_path / "b").exists()
    (rest,) = tmp_path.iterdir()
    assert rest.name.startswith(".b.")
    assert not (rest / "manifest.json").exists()


def test_control_c_leaves_nothing_at_all(tmp_path):
    with started(tmp_path / "b") as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "edgecnn: interrupted\n")
    assert not list(tmp_path.iterdir())
