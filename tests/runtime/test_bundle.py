"""Bundles: opened when whole, refused when anything in them is not what the manifest says."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgecnn.errors import BadFileError, UnknownNameError
from edgecnn.measure.accuracy import score
from edgecnn.runtime.bundle import open_bundle
from tests import tiny_artifacts
from tests.tiny_artifacts import FLOAT_FILE, INT8_FILE, LABELS, relist


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


def test_a_whole_bundle_opens_and_scores_on_its_sample(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.labels == LABELS
    assert bundle.artifact().file == INT8_FILE
    assert bundle.artifact("float32").file == FLOAT_FILE
    images, labels = bundle.sample()
    assert (images.dtype, images.shape, labels.dtype) == (np.uint8, (50, 4, 4, 3), np.int64)
    with bundle.open(bundle.file(FLOAT_FILE)) as runner:
        assert score(runner, [(images, labels)]).accuracy == 1.0


def test_unknown_artifacts_list_what_is_there(folder: Path) -> None:
    bundle = open_bundle(folder)
    with pytest.raises(UnknownNameError, match="static_w8a8 tflite"):
        bundle.artifact("static_w8a8", "onnx")
    with pytest.raises(UnknownNameError, match=INT8_FILE):
        bundle.file("tiny.tflite")


@pytest.mark.parametrize("name", [FLOAT_FILE, "labels.txt", "sample.npz"])
def test_every_file_is_verified(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadFileError, match=rf"{name} does not have the SHA-256"):
        open_bundle(folder)
    path.write_bytes(content[:-1])
    with pytest.raises(BadFileError, match=rf"{name} has {len(content) - 1} bytes, but the manifest says"):
        open_bundle(folder)
    path.unlink()
    with pytest.raises(BadFileError, match=rf"{name} is listed in the manifest but is not there"):
        open_bundle(folder)


def test_labels_must_fit_the_classes(folder: Path) -> None:
    (folder / "labels.txt").write_text("ant\nbee\n")
    relist(folder)
    with pytest.raises(BadFileError, match=r"holds 2 labels, but dataset\.classes is 3"):
        open_bundle(folder)
    (folder / "labels.txt").write_bytes(b"\xff\n\xfe\n\xfa\n")
    relist(folder)
    with pytest.raises(BadFileError, match="not UTF-8"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"images": np.zeros((50, 4, 4, 3), np.uint8)}, "'labels' cannot be read"),
        ({"images": np.zeros((50, 4, 4, 1), np.uint8), "labels": np.zeros(50, np.int64)}, "'images' is uint8"),
        ({"images": np.zeros((50, 4, 4, 3), np.uint8), "labels": np.zeros(50, np.int32)}, "'labels' is int32"),
        ({"images": np.zeros((50, 4, 4, 3), np.uint8), "labels": np.full(50, 3)}, "outside the 3 classes"),
        ({"images": np.array([print], object), "labels": np.zeros(50, np.int64)}, "'images' is object"),
        ({"images": np.zeros(10**7, np.uint8), "labels": np.zeros(50, np.int64)}, r"'images' is uint8 \[10000000\]"),
    ],
    ids=["missing", "shape", "type", "range", "pickle", "bomb"],
)
def test_a_sample_that_does_not_fit_is_refused(folder: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    np.savez_compressed(folder / "sample.npz", allow_pickle=True, **arrays)
    relist(folder)
    with pytest.raises(BadFileError, match=reason):
        open_bundle(folder).sample()


def test_a_header_that_claims_a_huge_array_is_refused(folder: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10**18,)})
    with zipfile.ZipFile(folder / "sample.npz", "w") as archive:
        archive.writestr("images.npy", head.getvalue() + b"x")
    relist(folder)
    with pytest.raises(BadFileError, match=r"array 'images' is uint8 \[1000000000000000000\], but"):
        open_bundle(folder).sample()


def test_a_damaged_archive_is_refused(folder: Path) -> None:
    (folder / "sample.npz").write_bytes(b"PK\x03\x04 not really")
    relist(folder)
    with pytest.raises(BadFileError, match="cannot be read"):
        open_bundle(folder).sample()


def test_what_the_manifest_says_of_a_tensor_is_checked_against_the_file(folder: Path) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["artifacts"][1]["output"]["scale"] = 0.125
    path.write_text(json.dumps(document))
    bundle = open_bundle(folder)
    with pytest.raises(BadFileError, match=r"output\.scale is 0\.25 in the file, but its manifest says 0\.125"):
        bundle.open(bundle.artifact())


def test_the_image_size_is_checked_against_the_file(folder: Path) -> None:
    tiny_artifacts.tflite(folder / INT8_FILE, tiny_artifacts.weights(image=(2, 8, 3)), image=(2, 8, 3), quantized=True)
    relist(folder)
    bundle = open_bundle(folder)
    with pytest.raises(BadFileError, match=r"input image is \(2, 8, 3\) in the file, .* \(4, 4, 3\)"):
        bundle.open(bundle.artifact())
