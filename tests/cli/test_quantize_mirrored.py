"""``edgecnn quantize --mirrored`` on the digits, by weights that say they saw mirror images: files and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import edgecnn
from edgecnn import checkpoint
from edgecnn.cli.bundle_text import text
from edgecnn.cli.main import main
from edgecnn.errors import UsageError
from edgecnn.measure.anatomy import macs
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.classify import predict
from edgecnn.runtime.tflite_file import read
from tests import nets
from tests.conftest import Once

SCHEMA = Path(edgecnn.__file__).parent / "runtime" / "manifest.schema.json"
FORMATS = ("tflite", "torchscript", "onnx")
RECIPES = ("float32", "static_w8a8")
WORDS = ("quantize", "--model", "lenet", "--data", "digits", "--mirrored")


@pytest.fixture
def made(once: Once, capfd: pytest.CaptureFixture[str]) -> Path:
    """A folder with weights, the ``bundle`` made of them, and ``out``, what was printed."""

    def make(folder: Path) -> None:
        shipped = checkpoint.shipped("lenet", "digits")
        assert shipped is not None
        header, tensors = checkpoint.load(shipped)
        flipped = header.recipe | {"augmentation": header.recipe["augmentation"] | {"flip": True}}
        weights = folder / "weights.safetensors"
        checkpoint.save(weights, replace(header, recipe=flipped), tensors)
        capfd.readouterr()
        assert main([*WORDS, "--weights", str(weights), "--out", str(folder / "bundle"), "--json"]) == 0
        (folder / "out").write_text(capfd.readouterr().out)

    return once("mirrored", make)


def logits(folder: Path, file: str, images: np.ndarray) -> np.ndarray:
    bundle = open_bundle(folder)
    with bundle.open(bundle.file(file)) as runner:
        return predict(runner, images)


def both(folder: Path, file: str, images: np.ndarray) -> np.ndarray:
    """The mean of what a file says of images and of their mirror images."""
    turned = np.ascontiguousarray(images[:, :, ::-1])
    mean: np.ndarray = (logits(folder, file, images) + logits(folder, file, turned)) / 2
    return mean


@pytest.mark.parametrize("format", FORMATS)
def test_a_float_file_gives_the_mean_of_what_the_plain_one_gives_whatever_the_batch(
    made: Path, whole_run: Path, format: str
) -> None:
    images = nets.digits().test.take(np.arange(7))[0]
    file = f"lenet_float32.{format}"
    expected = both(whole_run / "bundle", file, images)
    assert np.abs(expected - logits(whole_run / "bundle", file, images)).max() > 1, "lenet tells left from right"
    for batch in (images, images[:1], images[3:6]):
        start = 3 if len(batch) == 3 else 0
        found = logits(made / "bundle", file, batch)
        np.testing.assert_allclose(found, expected[start : start + len(batch)], atol=1e-4)


@pytest.mark.parametrize("format", FORMATS)
def test_a_quantized_file_agrees_with_the_float_one(made: Path, whole_run: Path, format: str) -> None:
    images = nets.digits().test.take(np.arange(450))[0]
    exact = logits(made / "bundle", "lenet_float32.tflite", images)
    found = logits(made / "bundle", f"lenet_static_w8a8.{format}", images)
    assert np.mean(found.argmax(1) == exact.argmax(1)) >= 0.97
    floats, integers = (logits(whole_run / "bundle", f"lenet_{recipe}.{format}", images) for recipe in RECIPES)
    assert np.abs(found - exact).mean() < 1.2 * np.abs(floats - integers).mean(), "noisier than what a plain file says"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_file_is_as_large_as_the_plain_one_and_takes_twice_the_work(made: Path, whole_run: Path, recipe: str) -> None:
    for format, most in (("tflite", 1000), ("torchscript", 1000), ("onnx", 2000)):
        sizes = [(folder / "bundle" / f"lenet_{recipe}.{format}").stat().st_size for folder in (made, whole_run)]
        assert 0 < sizes[0] - sizes[1] < most, format
    file, plain = (read((folder / "bundle" / f"lenet_{recipe}.tflite").read_bytes()) for folder in (made, whole_run))
    counts = [sum(macs(each, operation) or 0 for operation in each.operations) for each in (file, plain)]
    assert counts[0] == 2 * counts[1] > 0
    names = [operation.name for operation in file.operations]
    assert (names[:2], names[-1]) == (["REVERSE_V2", "CONCATENATION"], "MEAN")
    assert all(file.tensors[index].dynamic for operation in file.operations for index in operation.outputs)
    entry = open_bundle(made / "bundle").file(f"lenet_{recipe}.tflite")
    assert (entry.gate["xnnpack_partitions"], entry.gate["ops_outside_xnnpack"]) == (1, "REVERSE_V2")


def test_profile_counts_both_images_of_every_one_of_a_batch(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = made / "bundle" / "lenet_static_w8a8.tflite"
    assert main(["profile", str(file), "--batch", "2", "--runs", "1", "--json"]) == 0
    operations = json.loads(capfd.readouterr().out)["operations"]
    layers = {each["module"]: each["macs"] for each in operations if each["macs"]}
    assert layers["fc3"] == 2 * 84 * 10


def test_bundle_and_output_say_so(made: Path, whole_run: Path) -> None:
    document: dict[str, Any] = json.loads((made / "out").read_text())
    assert document["mirrored"] is True
    assert [row["failure"] for row in document["files"]] == [None] * 6
    assert json.loads((whole_run / "out").read_text())["mirrored"] is False
    jsonschema.validate(json.loads((made / "bundle" / "manifest.json").read_text()), json.loads(SCHEMA.read_text()))
    found, plain = (open_bundle(folder / "bundle").manifest for folder in (made, whole_run))
    assert (found.mirrored, plain.mirrored) == (True, False)
    assert (found.model.macs, found.model.parameters) == (2 * plain.model.macs, plain.model.parameters)


def test_accuracy_is_held_against_the_mirrored_model_and_not_against_what_the_weights_recorded(made: Path) -> None:
    entry = open_bundle(made / "bundle").artifact()
    assert entry.gate["recorded_accuracy"] is None
    floats = open_bundle(made / "bundle").artifact("float32").accuracy
    assert floats is not None and entry.gate["float_accuracy"] == floats.correct / floats.images


@pytest.mark.parametrize(
    "words",
    [("debug", "--images", "16"), ("compare", "lenet_float32.tflite", "--images", "40")],
    ids=["debug", "compare"],
)
def test_verbs_that_read_bundles_take_it(made: Path, words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    verb, *rest = words
    named = [str(made / "bundle" / word) if word.endswith(".tflite") else word for word in rest]
    assert main([verb, str(made / "bundle"), *named]) == 0
    assert capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--qat"], "--qat has ranges of its own"),
        (["--qat-weights", "shipped"], "--qat-weights has ranges of its own"),
        ([], "these weights of 'lenet' were trained without mirror images"),
    ],
)
def test_what_it_cannot_go_with_is_refused(capfd: pytest.CaptureFixture[str], words: list[str], reason: str) -> None:
    assert main([*WORDS, *words]) == 2
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert not out and line.startswith("edgecnn: error: ") and reason in line


def test_where_nobody_knows_how_weights_were_trained_the_data_set_decides() -> None:
    plain = nets.source("lenet")
    unknown = replace(plain, header=replace(plain.header, recipe={}))
    with pytest.raises(UsageError, match="a mirrored image of digits does not show its class"):
        unknown.looking_twice()
    source = replace(unknown, dataset=replace(plain.dataset, mirrorable=True)).looking_twice()
    assert source.name == "lenet-digits-mirrored"
    assert "lenet (each image and its mirror image) on the 450 test images" in text([], source, Path("x"))
    assert "mirror" not in text([], plain, Path("x"))
