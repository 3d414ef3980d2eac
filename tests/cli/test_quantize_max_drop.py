"""``edgecnn quantize --max-drop`` and ``--float-layers``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sensitivity import unbalance
from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.export import mixed
from edgecnn.measure.measurement import Settings
from edgecnn.measure.stats import Interval
from edgecnn.quantize.sensitivity import Effect, Harm, Yardstick
from edgecnn.runtime.bundle import open_bundle
from tests import nets
from tests.cli.test_quantize import FAST, no_work, refused, run

__all__ = ["no_work"]

ROOT = Path(__file__).parent.parent.parent
SHORT = Settings(runs=1, min_seconds=0.01)


def uneven(folder: Path) -> Path:
    """mod_cnn's weights for digits, their function as it was, with channels of very unlike size before conv3."""
    source = nets.source("mod_cnn")
    path = folder / "uneven.safetensors"
    model = unbalance(source.model, [("bn2", "conv3")], 8.0)
    checkpoint.save(path, source.header, model.state_dict())
    return path


@pytest.fixture(scope="session")
def hurt(once) -> Path:
    """What ``quantize --max-drop 1 --json`` left of weights that quantization hurts: ``bundle``, ``out``, ``err``."""

    def make(folder: Path) -> None:
        words = ["quantize", "--model", "mod_cnn", "--data", "digits", "--weights", str(uneven(folder)), "--json"]
        words += ["--max-drop", "1", "--format", "tflite", "--calibration", "64", "--out", str(folder / "bundle")]
        code = f"from edgecnn.export import mixed; mixed.BENCH = mixed.{SHORT!r}; import edgecnn.cli.main as m; "
        command = [sys.executable, "-c", code + "raise SystemExit(m.main())", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr
        (folder / "out").write_text(done.stdout)
        (folder / "err").write_text(done.stderr)

    return once("max-drop-hurt", make)


def test_the_layers_that_hurt_stay_float_and_the_file_keeps_the_bound(hurt):
    document = json.loads((hurt / "out").read_text())
    found = document["max_drop"]
    assert (found["bound_points"], found["within"]) == (1, True)
    assert found["int8_throughout"]["drop_points"] > 1 >= found["proven"]["drop_points"]
    assert {"conv2", "conv3"} & set(found["float_layers"])
    assert len(found["float_layers"]) <= 3
    low, high = found["proven"]["interval_points"]
    assert low <= found["proven"]["drop_points"] <= high
    assert found["ranking"][0]["layers"][0] in ("conv2", "conv3")
    assert len(found["ranking"]) == 7
    assert found["images"] == {
        "split": "train", "ranking": 641, "choosing": 641, "proving": 641, "trained_on": True,
    }  # fmt: skip


def test_the_bundle_holds_what_was_proven_and_the_price_is_told(hurt):
    document = json.loads((hurt / "out").read_text())
    found = document["max_drop"]
    bundle = open_bundle(hurt / "bundle")
    artifact = bundle.artifact()
    assert list(artifact.float_layers) == found["float_layers"] == document["quantized"]["float_layers"]
    assert artifact.bytes == found["bytes"] > found["int8_throughout"]["bytes"]
    cost = found["cost"]
    assert cost["mixed"]["ratio"] == pytest.approx(cost["mixed"]["microseconds"] / cost["plain_microseconds"])
    assert cost["float32_bytes"] == document["float"]["bytes"]


def test_debug_compare_and_profile_take_such_a_bundle(hurt, capfd):
    bundle = str(hurt / "bundle")
    assert main(["debug", bundle, "--images", "32", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    layers = {layer["name"]: layer for layer in document["layers"]}
    for name in open_bundle(hurt / "bundle").artifact().float_layers:
        assert (layers[name]["range"], layers[name]["clipped"], layers[name]["weight_db"]) == (None, None, None)
    assert layers["fc3"]["range"] is not None
    files = [f"{bundle}/mod_cnn_{recipe}.tflite" for recipe in ("float32", "static_w8a8")]
    assert main(["compare", *files, "--images", "40"]) == 0
    assert "40 images of digits" in capfd.readouterr().out
    assert main(["profile", bundle, "--runs", "1", "--json"]) in (0, 3)
    operations = [row["name"] for row in json.loads(capfd.readouterr().out)["operations"]]
    assert "DEQUANTIZE" in operations and "QUANTIZE" in operations


@pytest.fixture
def quick(monkeypatch, stored_conversions):
    """Let layers be ranked as they come, in no time, each of them lost on nothing."""
    nothing = Effect(0.0, Interval(0.0, 0.0), 30.0)
    monkeypatch.setattr(mixed, "rank", lambda groups, *_: [Harm(group, nothing, nothing) for group in groups])
    monkeypatch.setattr(mixed.Search, "_effect", lambda search, floats: nothing)
    monkeypatch.setattr(mixed, "BENCH", SHORT)


def test_where_no_layer_needs_it_the_file_is_the_plain_one(quick, tmp_path, capfd):
    code, out, _ = run(capfd, *FAST, "--max-drop", "50", "--out", tmp_path / "b")
    assert code == 0
    rows = out.splitlines()
    assert f"bundle {tmp_path / 'b'}" in rows
    assert rows[-1] == "within   50 points: no layer needs to stay float32"
    assert "on 417 training images, which they were trained on" in out
    assert [row.split()[0] for row in rows if row.endswith("  int8")] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert open_bundle(tmp_path / "b").artifact().float_layers == ()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_bound_that_cannot_be_kept_ends_with_1_and_the_best_that_could(form, quick, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(Yardstick, "effect", lambda yardstick, predict: Effect(2.0, Interval(1.0, 3.0), 9.0))
    words = ["--max-drop", "1.5", "--out", tmp_path / "b", *(["--json"] if form == "json" else [])]
    code, out, lines = run(capfd, *FAST, *words)
    assert code == 1
    assert lines[-1] == (
        "edgecnn: error: no choice of layers keeps the drop within 1.5 points: the best drops +2.00 points "
        "(95 %: +1.00 to +3.00) with float32 none; no bundle was written, raise --max-drop or try --qat"
    )
    assert not (tmp_path / "b").exists()
    if form == "json":
        document = json.loads(out)["max_drop"]
        assert (document["within"], document["float_layers"], document["proven"]["drop_points"]) == (False, [], 2.0)
    else:
        assert "layer  alone drops  SQNR dB" in out
        assert "int8     throughout the file drops +2.00 points (95 %: +1.00 to +3.00) on 417 other images" in out
        assert "within " not in out


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-drop", "-0.1"], "--max-drop -0.1 is no drop of accuracy in points (valid: 0 to 100)"),
        (["--max-drop", "nan"], "--max-drop nan is no drop of accuracy in points (valid: 0 to 100)"),
        (["--max-drop", "inf"], "--max-drop inf is no drop of accuracy in points (valid: 0 to 100)"),
        (["--max-drop", "few"], "Invalid value for '--max-drop': 'few' is not a valid float (see "),
        (
            ["--max-drop", "1", "--recipe", "dynamic_w8"],
            "--max-drop is for recipe static_w8a8, not for dynamic_w8; leave --recipe out",
        ),
        (
            ["--max-drop", "1", "--float-layers", "conv1"],
            "--max-drop chooses the layers that --float-layers names; give one of them",
        ),
        (
            ["--max-drop", "1", "--calibration", "synthetic"],
            "--max-drop needs labelled images; give --calibration a number, not 'synthetic'",
        ),
        (["--max-drop", "1", "--format", "onnx"], "--max-drop proves a TFLite file; add tflite to the formats"),
        (
            ["--float-layers", "conv1", "--recipe", "static_w8a16"],
            "single layers stay float32 only in recipe static_w8a8, not in static_w8a16",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_before_any_long_work(words, message, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(capfd, "--model", "lenet", "--data", "digits", *words).startswith(message)
    assert not list(tmp_path.iterdir())


def test_too_few_images_to_choose_on_are_refused(tmp_path, capfd):
    line = refused(capfd, *FAST, "--max-drop", "1", "--calibration", "1300", "--out", tmp_path / "b")
    assert line.startswith("47 training images are left to choose layers on and to prove the choice on (at least 200)")


@pytest.mark.usefixtures("stored_conversions")
def test_float_layers_are_named_in_the_table_and_in_the_manifest(tmp_path, capfd):
    code, out, _ = run(capfd, *FAST, "--float-layers", "conv2,fc3", "--out", tmp_path / "b")
    assert code == 0
    assert "lenet_static_w8a8.tflite: 2 layers float32: conv2, fc3" in out.splitlines()
    assert open_bundle(tmp_path / "b").artifact().float_layers == ("conv2", "fc3")


def test_a_name_of_no_layer_is_refused_with_the_nearest(tmp_path, capfd):
    line = refused(capfd, *FAST, "--float-layers", "conv2,fc9", "--out", tmp_path / "b")
    assert line == "unknown layer 'fc9'; did you mean 'fc3'? (valid: conv1, conv2, fc1, fc2, fc3)"
    assert not list(tmp_path.iterdir())
