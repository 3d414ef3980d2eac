"""``edgecnn quantize --qat`` on the digits: what comes out, going on after Ctrl-C, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import edgecnn
from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.data import registry
from edgecnn.quantize import passes, qat
from edgecnn.quantize.recipe import STATIC_W4A8
from edgecnn.runtime.bundle import open_bundle
from edgecnn.train import CHECKPOINT, CURVE, WEIGHTS
from tests.train import small
from tests.train.interrupted import child, first_epoch
from tests.train.stopping import stop_after

SCHEMA = Path(edgecnn.__file__).parent / "runtime" / "manifest.schema.json"
WORDS = ["--model", "lenet", "--data", "digits", "--format", "tflite"]
FILE = "lenet_static_w8a8.tflite"


def quantize(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    code = main(["quantize", *WORDS, *map(str, words)])
    out, err = capfd.readouterr()
    return code, out, [line for line in err.splitlines() if not re.match(r"[WI]\d{4} |INFO:", line)]


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that a refused command leaves."""
    code, out, lines = quantize(capfd, *words)
    assert (code, out, len(lines)) == (2, "", 1), lines
    assert lines[0].startswith("edgecnn: error: ")
    return lines[0].removeprefix("edgecnn: error: ")


@pytest.mark.usefixtures("stored_conversions")
def test_training_is_recorded_and_its_weights_give_the_same_file_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ["--epochs", 1, "--batch-size", 128, "--learning-rate", 0.002, "--seed", 3]
    code, out, lines = quantize(capfd, "--qat", *settings, "--json")
    assert code == 0
    assert lines[0].startswith("epoch 1/1  loss ")
    document: dict[str, Any] = json.loads(out)
    run = Path("runs/lenet-digits-qat")
    assert sorted(os.listdir(run)) == [CHECKPOINT, CURVE, WEIGHTS]
    bundle = Path("lenet-digits-static_w8a8-qat")
    assert document["bundle"] == str(bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    jsonschema.validate(manifest, json.loads(SCHEMA.read_text()))
    shipped = checkpoint.shipped("lenet", "digits")
    assert shipped is not None
    before = checkpoint.digest(checkpoint.load_model(shipped)[0])
    how = {"epochs": 1, "learning_rate": 0.002, "batch_size": 128, "seed": 3, "float_weights": before}
    assert manifest["qat"] == how
    assert document["qat"] == how | {"weights": str(run / WEIGHTS)}
    assert manifest["recipe"] == "static_w8a8"
    header, _ = checkpoint.load(run / WEIGHTS)
    assert header.command == (
        "edgecnn quantize --model lenet --data digits --format tflite --qat --epochs 1 --learning-rate 0.002 "
        "--batch-size 128 --seed 3"
    )
    code, out, lines = quantize(capfd, "--qat-weights", run / WEIGHTS, "--out", "again")
    assert code == 0
    assert not any(line.startswith("epoch") for line in lines)
    assert out.splitlines()[-2:] == [f"weights {run / WEIGHTS}", "bundle again"]
    assert (Path("again") / FILE).read_bytes() == (bundle / FILE).read_bytes()
    assert open_bundle(Path("again")).manifest.qat == open_bundle(bundle).manifest.qat
    code, out, _ = quantize(capfd, "--out", "calibrated")
    assert code == 0
    assert "weights" not in out
    assert open_bundle(Path("calibrated")).manifest.qat is None
    assert (Path("calibrated") / FILE).read_bytes() != (bundle / FILE).read_bytes()


@pytest.mark.usefixtures("one_thread", "stored_conversions")
def test_control_c_in_the_training_leaves_a_run_that_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    words = ["quantize", *WORDS, "--qat", "--epochs", "4", "--batch-size", "64", "--device", "cpu"]
    parts = ["--run", str(tmp_path / "parts"), "--out", str(tmp_path / "b")]
    with child(*words, *parts) as process:
        first_epoch(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert re.search(r"^stopped; [1-4] of 4 epochs are in .*: go on with --resume\n", err, re.M)
    assert sorted(os.listdir(tmp_path)) == ["parts"]
    assert sorted(os.listdir(tmp_path / "parts")) == [CHECKPOINT, CURVE]
    whole = ["--run", str(tmp_path / "whole"), "--out", str(tmp_path / "c")]
    for more in ([*parts, "--resume"], whole):
        assert main([*words, *more]) == 0
    assert small.same(small.tensors(tmp_path / "parts"), small.tensors(tmp_path / "whole"))
    assert (tmp_path / "b" / FILE).read_bytes() == (tmp_path / "c" / FILE).read_bytes()


@pytest.mark.usefixtures("stored_conversions")
def test_4_bit_weights_are_trained_kept_apart_and_given_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = ["--recipe", "static_w4a8"]
    settings = ["--epochs", 1, "--batch-size", 128]
    code, out, _ = quantize(capfd, "--qat", *recipe, *settings, "--equalize", "--json")
    assert code == 0
    document: dict[str, Any] = json.loads(out)
    run = Path("runs/lenet-digits-static_w4a8-qat")
    header, _ = checkpoint.load(run / WEIGHTS)
    assert header.quantization["recipe_name"] == "static_w4a8"
    assert header.quantization["rewrites"] == ["equalize", *passes.defaults(STATIC_W4A8)]
    bundle = Path("lenet-digits-static_w4a8-qat")
    manifest = open_bundle(bundle).manifest
    assert (manifest.recipe, manifest.passes) == ("static_w4a8", ("equalize", *passes.defaults(STATIC_W4A8)))
    assert manifest.qat is not None
    assert document["quantized"]["gate"]["agreement"] >= 0.985
    code, _, _ = quantize(capfd, "--qat-weights", run / WEIGHTS, *recipe, "--out", "again")
    assert code == 0
    name = "lenet_static_w4a8.tflite"
    assert (Path("again") / name).read_bytes() == (bundle / name).read_bytes()
    line = refused(capfd, "--qat-weights", run / WEIGHTS, "--out", "other")
    assert line == f"{run / WEIGHTS} was trained for static_w4a8, not for static_w8a8; change --recipe"


@pytest.mark.usefixtures("stored_conversions")
def test_learned_ranges_come_out_in_every_format_and_are_given_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    formats = ["--format", "tflite,torchscript,onnx"]
    settings = ["--epochs", 1, "--batch-size", 128, "--run", "run"]
    code, out, _ = quantize(capfd, "--qat", "--ranges", "learned", *settings, *formats, "--out", "made", "--json")
    assert code == 0
    document: dict[str, Any] = json.loads(out)
    assert checkpoint.load(Path("run") / WEIGHTS)[0].quantization["ranges"] == "learned"
    mine = [each for each in document["files"] if each["recipe"] == "static_w8a8"]
    assert [each["failure"] for each in mine] == [None] * 3
    assert document["quantized"]["gate"]["agreement"] >= 0.985
    code, _, _ = quantize(capfd, "--qat-weights", Path("run") / WEIGHTS, "--out", "again")
    assert code == 0
    assert (Path("again") / FILE).read_bytes() == (Path("made") / FILE).read_bytes()


def test_the_weights_it_begins_with_are_not_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(qat, "train", lambda *_words, **_more: pytest.fail("it trains"))
    weights = Path("run") / WEIGHTS
    weights.parent.mkdir()
    shipped = checkpoint.shipped("lenet", "digits")
    assert shipped is not None
    weights.write_bytes(before := shipped.read_bytes())
    line = refused(capfd, "--weights", weights, "--qat", "--run", "run", "--force")
    assert line == (
        f"this run would replace {weights.resolve()}, which it begins with or learns from; give another --run"
    )
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "3"], "--epochs is a setting of the training that --qat does; add --qat"),
        (["--learning-rate", "0.1"], "--learning-rate is a setting of the training that --qat does; add --qat"),
        (["--compile"], "--compile is a setting of the training that --qat does; add --qat"),
        (["--ranges", "learned"], "--ranges is a setting of the training that --qat does; add --qat"),
        (["--qat", "--ranges", "lsq"], "Invalid value for '--ranges': 'lsq' is not one of 'following', 'learned'"),
        (["--resume"], "--resume is a setting of the training that --qat does; add --qat"),
        (["--seed", "0", "--qat-weights", "x"], "--seed is a setting of the training that --qat does; add --qat"),
        (["--qat", "--qat-weights", "x"], "--qat trains weights and --qat-weights uses trained ones; give one of them"),
        (["--qat", "--recipe", "dynamic_w8"], "--qat is for the recipes static_w8a8 and static_w4a8"),
        (["--qat-weights", "x", "--recipe", "float16"], "--qat is for the recipes static_w8a8 and static_w4a8"),
        (["--qat-weights", "x", "--equalize"], "--equalize changes weights and --qat-weights gives trained ones"),
        (["--equalize", "--recipe", "float16"], "--equalize is for recipes with weights of 8 bits or less"),
        (["--recipe", "static_w4a8", "--format", "onnx"], "recipe static_w4a8 exists only as tflite: ONNX Runtime"),
        (["--recipe", "static_w4"], "unknown recipe 'static_w4'; did you mean 'static_w4a8'?"),
        (["--qat", "--epochs", "0"], "Invalid value for '--epochs': 0 is not in the range x>=1"),
        (["--qat", "--learning-rate", "0"], "learning rate is 0.0, but must be above 0"),
        (["--qat", "--learning-rate", "nan"], "learning rate is nan, but must be above 0"),
        (["--qat", "--seed", "-1"], "seed is -1, but must be 0 or more"),
        (["--qat", "--precision", "float16"], "unknown precision 'float16'; did you mean 'bfloat16'?"),
        (["--qat", "--passes", "pool_as_con"], "unknown pass 'pool_as_con'; did you mean 'pool_as_conv'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_before_the_data_is_read(
    words: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*words: object, **more: object) -> None:
        raise AssertionError("long work began")

    monkeypatch.setattr(registry, "load", load)
    monkeypatch.chdir(tmp_path)
    assert refused(capfd, *words).startswith(message)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_is_refused_before_the_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stop_after(-1, monkeypatch)
    shipped = checkpoint.shipped("lenet", "digits")
    assert "a batch of 100000 is more than the 1347 training images" in refused(capfd, "--qat", "--batch-size", 100000)
    assert "unknown device 'tpu'" in refused(capfd, "--qat", "--device", "tpu")
    assert "nothing to resume: runs/lenet-digits-qat" in refused(capfd, "--qat", "--resume")
    assert "cannot read weights x: No such file" in refused(capfd, "--qat-weights", "x")
    assert "was not written by 'edgecnn quantize --qat'" in refused(capfd, "--qat-weights", shipped)
    line = refused(capfd, "--qat-weights", "shipped")
    assert line == (
        "no weights of 'lenet' that were trained for static_w8a8 and data set 'digits' come with edgecnn; "
        "train them with --qat"
    )
    assert not list(tmp_path.iterdir())
    (tmp_path / "lenet-digits-static_w8a8-qat").mkdir()
    assert "lenet-digits-static_w8a8-qat already exists; " in refused(capfd, "--qat")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CHECKPOINT).write_text("there")
    assert f"run/{CHECKPOINT} already exists; " in refused(capfd, "--qat", "--run", "run", "--out", "b")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert refused(capfd, "--qat") == "--qat trains in one process; run it without torchrun"
