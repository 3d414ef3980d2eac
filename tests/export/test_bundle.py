"""A bundle as ``edgecnn quantize`` writes it: complete, verified, and what it says of itself is true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import edgecnn
from edgecnn.errors import CheckFailedError, OutputExistsError, UsageError
from edgecnn.export import bundle as writing
from edgecnn.export import tflite
from edgecnn.export.bundle import write_bundle
from edgecnn.export.drafts import Order
from edgecnn.measure.accuracy import score
from edgecnn.quantize import passes
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.manifest import MANIFEST
from tests import nets
from tests.export import breaking

SCHEMA = Path(edgecnn.__file__).parent / "runtime" / "manifest.schema.json"
SUFFIXES = ("tflite", "torchscript", "onnx")
FILES = {f"lenet_{recipe}.{suffix}" for recipe in ("float32", "static_w8a8") for suffix in SUFFIXES}


@pytest.fixture
def folder(whole_run: Path) -> Path:
    return whole_run / "bundle"


def test_the_bundle_opens_and_its_manifest_fits_the_schema(folder):
    bundle = open_bundle(folder)
    jsonschema.validate(json.loads((folder / "manifest.json").read_text()), json.loads(SCHEMA.read_text()))
    assert {path.name for path in folder.iterdir()} == FILES | {"labels.txt", "sample.npz", "manifest.json"}
    assert {artifact.file for artifact in bundle.manifest.artifacts} == FILES
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_the_manifest_says_how_the_bundle_was_made(folder):
    manifest = open_bundle(folder).manifest
    assert (manifest.recipe, manifest.passes) == ("static_w8a8", passes.defaults(STATIC_W8A8))
    assert (manifest.model.name, manifest.model.parameters, manifest.model.macs) == ("lenet", 62_006, 651_720)
    assert manifest.model.arguments == {"num_classes": 10, "in_channels": 3, "image_size": (32, 32)}
    assert (manifest.dataset.name, manifest.dataset.classes) == ("digits", 10)
    assert (manifest.input.height, manifest.input.width, manifest.input.channels) == (32, 32, 3)
    assert (manifest.input.offset, manifest.input.divisor) == (128, 64)
    assert manifest.calibration is not None
    assert (manifest.calibration.images, manifest.calibration.split) == (512, "train")
    assert {"python", "edgecnn", "torch", "litert-torch", "ai-edge-litert", "onnx"} <= set(manifest.tools)


def test_sample_and_labels_are_those_of_the_data_set(folder):
    bundle = open_bundle(folder)
    images, labels = bundle.sample()
    expected_images, expected_labels = nets.digits().test.take(np.arange(450))
    assert np.array_equal(images, expected_images)
    assert np.array_equal(labels, expected_labels)
    assert bundle.labels == nets.digits().classes


@pytest.mark.parametrize("file", sorted(FILES))
def test_every_file_scores_what_the_manifest_says(folder, file):
    bundle = open_bundle(folder)
    artifact = bundle.file(file)
    images, labels = bundle.sample()
    with bundle.open(artifact) as runner:
        found = score(runner, [(images[start : start + 250], labels[start : start + 250]) for start in (0, 250)])
    assert artifact.accuracy is not None
    assert (found.right, found.images) == (artifact.accuracy.correct, artifact.accuracy.images)
    quantized = "static" in file
    assert artifact.gate["agreement" if quantized else "max_logit_difference"] is not None
    assert (artifact.engine is not None) == (quantized and artifact.format == "torchscript")


def test_the_sample_holds_at_most_a_thousand_images(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SAMPLE_IMAGES", 30)
    written(tmp_path / "b", Order("torchscript", FLOAT32), recipe=FLOAT32)
    images, labels = open_bundle(tmp_path / "b").sample()
    assert (len(images), len(labels)) == (30, 30)


def written(out, *orders, recipe=STATIC_W8A8, force=False, sign=None):
    return write_bundle(orders, recipe, nets.source("lenet"), out, force=force, say=lambda line: None, sign=sign)


def test_a_bundle_is_signed_when_it_is_whole(tmp_path):
    manifests = []
    written(
        tmp_path / "b", Order("torchscript", FLOAT32), recipe=FLOAT32,
        sign=lambda folder: manifests.append((folder / "manifest.json").read_bytes()),
    )  # fmt: skip
    assert manifests == [(tmp_path / "b" / "manifest.json").read_bytes()]


@pytest.mark.usefixtures("stored_conversions")
def test_if_the_main_file_fails_nothing_is_written(tmp_path, monkeypatch):
    convert = tflite.convert_quantized
    monkeypatch.setattr(tflite, "convert_quantized", lambda *words: breaking.with_bias_scale(convert(*words), 4, 2.0))
    with pytest.raises(CheckFailedError, match="no bundle was written: .* the bias scale of layer fc1 "):
        written(tmp_path / "b", Order("torchscript", FLOAT32), Order("tflite", STATIC_W8A8))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("stored_conversions")
def test_if_another_file_fails_the_bundle_is_written_without_it(tmp_path, monkeypatch):
    convert = tflite.convert_float
    monkeypatch.setattr(
        tflite, "convert_float", lambda *words: breaking.with_weights(convert(*words), 0, breaking.scrambled)
    )
    floats, _ = written(tmp_path / "b", Order("tflite", FLOAT32), Order("tflite", STATIC_W8A8))
    assert "first layer at fault: conv1" in floats.failure
    (artifact,) = open_bundle(tmp_path / "b").manifest.artifacts
    assert artifact.recipe == "static_w8a8"
    assert not (tmp_path / "b" / floats.file).exists()


def test_a_bundle_is_replaced_only_by_force_and_only_as_a_whole(tmp_path):
    order = Order("torchscript", FLOAT32)
    out = tmp_path / "b"
    out.mkdir()
    written(out, order, recipe=FLOAT32, force=True)  # an empty folder is no loss
    with pytest.raises(OutputExistsError):
        written(out, order, recipe=FLOAT32)
    (out / MANIFEST).write_text("damaged")
    written(out, order, recipe=FLOAT32, force=True)
    open_bundle(out)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["holiday.jpg"], "'holiday.jpg' is no part of one; choose another --out than {out}"),
        (["manifest.json", "labels.txt", "notes.md"], "'notes.md' is no part of one"),
        (["mine.tflite"], "{out} has no manifest.json"),
    ],
)
def test_force_replaces_nothing_but_bundles(names, reason, tmp_path):
    out = tmp_path / "b"
    out.mkdir()
    for name in names:
        (out / name).write_text("precious")
    with pytest.raises(UsageError, match=re.escape(reason.format(out=out))):
        written(out, Order("torchscript", FLOAT32), recipe=FLOAT32, force=True)
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(names, "precious")


def test_force_replaces_no_file(tmp_path):
    out = tmp_path / "b"
    out.write_text("precious")
    with pytest.raises(UsageError, match="'b' is no part of one"):
        written(out, Order("torchscript", FLOAT32), recipe=FLOAT32, force=True)
    assert out.read_text() == "precious"
