"""Judging: broken files are refused by the name of the layer, and one failure does not stop the others."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import edgecnn
from edgecnn.errors import BadFileError, CheckFailedError, MissingExtraError, OutputError, UsageError
from edgecnn.export import judge as judging
from edgecnn.export.drafts import Order, make
from edgecnn.export.judge import comparison
from edgecnn.quantize.recipe import FLOAT32, STATIC_W4A8, STATIC_W8A8
from tests import nets
from tests.export import breaking

pytestmark = pytest.mark.usefixtures("stored_conversions")

ROOT = Path(edgecnn.__file__).parent.parent
FLOAT, STATIC = Order("tflite", FLOAT32), Order("tflite", STATIC_W8A8)
SCRIPT = Order("torchscript", FLOAT32)


def judged(folder, *orders):
    return nets.judged(orders, nets.source("lenet"), folder)


def change(monkeypatch, order, **changes):
    """Let one order's draft come out otherwise; a change is a function of the sound draft."""

    def changed(asked, source):
        draft = make(asked, source)
        if asked != order:
            return draft
        return dataclasses.replace(draft, **{name: value(draft) for name, value in changes.items()})

    monkeypatch.setattr(judging, "make", changed)


def fail(monkeypatch, order, error):
    """Let one order fail."""

    def failing(asked, source):
        if asked == order:
            raise error
        return make(asked, source)

    monkeypatch.setattr(judging, "make", failing)


def test_sound_files_pass_and_are_scored_on_the_same_images(tmp_path):
    told: list[str] = []
    source = nets.source("lenet")
    results = nets.judged([FLOAT, STATIC, SCRIPT], source, tmp_path, told.append)
    assert told == [
        "making and checking lenet_float32.tflite", "making and checking lenet_static_w8a8.tflite",
        "making and checking lenet_float32.torchscript", "scoring on 450 test images",
    ]  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {each.file for each in results}
    for each in results:
        assert each.failure is None
        assert each.score.images == 450
        assert each.artifact.accuracy.correct == each.score.right
        assert each.artifact.gate["images"] == 1000
        assert each.artifact.gate["recorded_accuracy"] == source.header.metrics["test_accuracy"]
    assert results[0].artifact.gate["max_logit_difference"] <= 1e-4
    assert results[1].artifact.gate["agreement"] >= 0.97
    assert results[1].rewrites == ("flatten_order", "pool_as_conv", "merge_separable", "pair_columns")
    floats, static = (comparison(results, each.file) for each in results[:2])
    assert floats is not None and static is not None
    assert (floats.agreement, floats.change) == (1, 0)
    assert static.change == pytest.approx(100 * (results[1].score.accuracy - results[0].score.accuracy))


@pytest.mark.parametrize(
    ("order", "broken", "message"),
    [
        (STATIC, lambda c: breaking.with_bias_scale(c, 2, 0.66), r"the bias scale of layer conv2 .* off by 34 %"),
        (
            STATIC,
            lambda c: breaking.with_weights(c, 2, breaking.scrambled),
            r"weights of layer conv2 \(CONV_2D\) are not those",
        ),
        (
            STATIC,
            lambda c: breaking.with_weights(c, 5, breaking.replaced),
            r"weights of layer fc2 \(FULLY_CONNECTED\) are not",
        ),
        (FLOAT, lambda c: breaking.with_weights(c, 1, breaking.scrambled), r"differ by .* layer at fault: conv2 \("),
        (FLOAT, lambda c: breaking.with_weights(c, 4, lambda w: 1.001 * w), r"differ by .* the most is fc3 \("),
    ],
    ids=["bias scale", "int8 order", "int8 values", "float order", "float a little"],
)
def test_a_broken_file_is_refused_and_its_layer_named(order, broken, message, tmp_path, monkeypatch):
    change(monkeypatch, order, content=lambda draft: broken(draft.content))
    (result,) = judged(tmp_path, order)
    assert result.artifact is None
    assert result.score is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckFailedError, match=message):
        raise CheckFailedError(result.failure)


def test_a_wrong_reference_is_refused_too(tmp_path, monkeypatch):
    def squeezed(draft):
        part = draft.graph.get_submodule("quantizer_conv2")
        part.high.mul_(0.001)
        part.low.zero_()
        return draft.graph

    change(monkeypatch, STATIC, graph=squeezed)
    (result,) = judged(tmp_path, STATIC)
    assert "first layer at fault: conv2 (" in result.failure


def test_other_formats_are_gated_as_well(tmp_path, monkeypatch):
    change(monkeypatch, SCRIPT, reference=lambda draft: lambda images: draft.reference(images) + 2e-4)
    (result,) = judged(tmp_path, SCRIPT)
    assert result.failure.startswith("lenet_float32.torchscript: logits differ by 0.0002 ")


def test_a_file_that_lost_accuracy_is_refused(tmp_path, monkeypatch):
    source = nets.source("lenet")
    metrics = source.header.metrics | {"test_accuracy": 1.02}
    better = dataclasses.replace(source, header=dataclasses.replace(source.header, metrics=metrics))
    (result,) = nets.judged([FLOAT], better, tmp_path)
    assert "is more than 1 point below the recorded 102.00 %; no layer differs by more than 5%" in result.failure
    assert not list(tmp_path.iterdir())
    metrics["test_images"] = 10_000.0  # recorded on other images: nothing to hold it against
    (result,) = nets.judged([FLOAT], better, tmp_path)
    assert result.failure is None
    assert result.artifact.gate["recorded_accuracy"] is None


def test_weights_of_4_bits_may_lose_five_points(tmp_path, monkeypatch):
    """Of a float file in their place: what it loses is up to the accuracy that is said to be recorded."""
    source = nets.source("lenet")
    draft = make(SCRIPT, source)
    monkeypatch.setattr(judging, "make", lambda order, asked: draft)
    order = Order("torchscript", STATIC_W4A8)
    accuracy = source.header.metrics["test_accuracy"]
    for lost in (0.045, 0.055):
        metrics = source.header.metrics | {"test_accuracy": accuracy + lost}
        better = dataclasses.replace(source, header=dataclasses.replace(source.header, metrics=metrics))
        (result,) = nets.judged([order], better, tmp_path)
        assert (result.failure is None) == (lost < 0.05)
    assert "is more than 5 points below the recorded" in result.failure


def test_where_no_accuracy_was_recorded_that_of_the_model_counts(tmp_path, monkeypatch):
    source = nets.source("lenet")
    foreign = dataclasses.replace(source, header=dataclasses.replace(source.header, metrics={}))
    (sound,) = nets.judged([STATIC], foreign, tmp_path / "sound")  # no float32 file is needed
    assert sound.artifact.gate["float_accuracy"] == source.header.metrics["test_accuracy"]

    wrong = copy.deepcopy(source.model)
    for each in wrong.parameters():
        each.data.neg_()

    def broken(order, asked):  # in the simulation too, so that the file agrees with it
        return make(order, dataclasses.replace(asked, model=wrong))

    monkeypatch.setattr(judging, "make", broken)
    (static,) = nets.judged([STATIC], foreign, tmp_path / "broken")
    assert "points below float32's, and surely more than 1" in static.failure
    assert not list((tmp_path / "broken").iterdir())


@pytest.mark.parametrize(
    "error",
    [CheckFailedError("it broke"), BadFileError("it broke"), MissingExtraError("it broke", "onnx", "train")],
    ids=lambda error: type(error).__name__,
)
def test_one_failure_is_one_row_and_the_others_go_on(error, tmp_path, monkeypatch):
    fail(monkeypatch, FLOAT, error)
    first, second, third = judged(tmp_path, FLOAT, STATIC, SCRIPT)
    assert first.failure.startswith("it broke")
    assert first.milliseconds >= 0
    assert (second.failure, third.failure) == (None, None)
    assert (second.score.images, third.score.images) == (450, 450)
    assert comparison([first, second, third], second.file) is None
    assert {path.name for path in tmp_path.iterdir()} == {second.file, third.file}


@pytest.mark.parametrize("error", [OutputError("disk full"), UsageError("no such form"), KeyboardInterrupt()])
def test_what_concerns_all_files_stops_all(error, tmp_path, monkeypatch):
    fail(monkeypatch, FLOAT, error)
    with pytest.raises(type(error)):
        judged(tmp_path, FLOAT, SCRIPT)


def test_a_file_that_its_engine_refuses_is_a_row(tmp_path, monkeypatch):
    change(monkeypatch, SCRIPT, content=lambda draft: draft.content[:2000])
    script, floats = judged(tmp_path, SCRIPT, FLOAT)
    assert "is not a TorchScript file" in script.failure
    assert floats.failure is None


MEMORY = """
import dataclasses, resource, sys
import numpy as np
from pathlib import Path
from edgecnn.data.dataset import DataSet
from edgecnn.export import judge as gate
from edgecnn.export import tflite
from edgecnn.export.drafts import Order
from edgecnn.export.judge import judge
from edgecnn.quantize.recipe import STATIC_W8A8
from tests import nets

class Repeated:
    def __init__(self, split, count):
        self.split, self.count = split, count
    def __len__(self):
        return self.count
    def take(self, indices):
        return self.split.take(indices % len(self.split))

content = Path(sys.argv[1]).read_bytes()
tflite.convert_quantized = lambda graph_module, arguments: content
gate.check_values = lambda name, content, graph_module: {}  # other images calibrated it
source, digits = nets.source("lenet"), nets.digits()
for count in (1_000, 50_000):
    many = dataclasses.replace(
        digits, name="many", train=Repeated(digits.train, count), test=Repeated(digits.test, count)
    )
    large = dataclasses.replace(source, dataset=many, calibration_images=count)
    (result,) = judge([Order("tflite", STATIC_W8A8)], large, Path(sys.argv[2]), lambda line: None)
    assert result.failure is None, result.failure
    assert result.score.images == count
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_images_that_calibrate_and_score(tmp_path):
    (tmp_path / "made.tflite").write_bytes(make(STATIC, nets.source("lenet")).content)
    words = [sys.executable, "-c", MEMORY, str(tmp_path / "made.tflite"), str(tmp_path)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    few, many = map(int, run.stdout.split())
    assert many - few < 100 * 1024  # KiB; the images alone would be 150 MB, once


def test_what_no_device_may_run_is_named_by_its_layer(tmp_path):
    source = nets.source("lenet")
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    (result,) = nets.judged([FLOAT], dataclasses.replace(source, model=nn.Sequential(*layers).eval()), tmp_path)
    assert "the converter made of the model what edgecnn lets no device run: " in result.failure
    assert result.failure.endswith("; put another layer in the place of 1 (Softplus), which may be why")
