"""Bundles: opened when whole, refused when anything in them is not what the manifest says."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("header", ["{'descr': ((", "{[]: 1}", "  {}\n {}", "{'descr': 1"])
def test_a_header_that_is_no_python_is_refused(folder: Path, header: str) -> None:
    with zipfile.ZipFile(folder / "sample.npz", "w") as archive:
        text = header.encode()
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    relist(folder)
    with pytest.raises(BadFileError, match="array 'images' cannot be read"):
        open_bundle(folder).sample()


def test_an_archive_of_another_compression_that_is_damaged_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "sample.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("images.npy", bytes(1000))
    content = bytearray((folder / "sample.npz").read_bytes())
    content[50:60] = b"\xff" * 10
    (folder / "sample.npz").write_bytes(content)
    relist(folder)
    with pytest.raises(BadFileError, match="array 'images' cannot be read"):
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


def elsewhere(folder: Path) -> None:
    (folder / INT8_FILE).rename(folder.parent / "x")
    (folder / INT8_FILE).symlink_to(folder.parent / "x")


def linked_manifest(folder: Path) -> None:
    (folder / "manifest.json").rename(folder.parent / "m")
    (folder / "manifest.json").symlink_to(folder.parent / "m")


def waiting_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def waiting_file(folder: Path) -> None:
    (folder / INT8_FILE).unlink()
    os.mkfifo(folder / INT8_FILE)


def commanding_label(folder: Path) -> None:
    (folder / "labels.txt").write_text("ant\n\x1b[2Jbee\ncat\n")
    relist(folder)


def long_label(folder: Path) -> None:
    (folder / "labels.txt").write_text(f"ant\n{'b' * 300}\ncat\n")
    relist(folder)


def deep_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"schema": ' + "[" * 900 + "]" * 900 + "}")


def rewrite(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        document = json.loads((folder / "manifest.json").read_text())
        change(document)
        (folder / "manifest.json").write_text(json.dumps(document))

    return harm


def many_files(document: Any) -> None:
    document["files"] += [document["files"][0] | {"file": f"f{number}"} for number in range(300)]


def enormous_files(document: Any) -> None:
    document["files"] += [document["files"][0] | {"file": f"f{number}", "bytes": 1 << 30} for number in range(5)]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (elsewhere, f"{INT8_FILE} is a link, which a bundle may not hold"),
        (linked_manifest, "manifest.json is a link or no plain file"),
        (waiting_manifest, "manifest.json is a link or no plain file"),
        (deep_manifest, "manifest.json: artifacts is missing|is not a known field|is missing"),
        (waiting_file, f"{INT8_FILE} is listed in the manifest but is not there"),
        (commanding_label, r"labels\.txt: a label is '\\x1b\[2Jbee'"),
        (long_label, "valid: 1 to 200 printable characters"),
        (rewrite(lambda each: each["dataset"].update(note="\x1b]0;")), "a text holds what cannot be printed"),
        (rewrite(lambda each: each["tools"].update({"\x07": "1"})), "a text holds what cannot be printed"),
        (rewrite(lambda each: each["dataset"].update(note="a\u200bb")), "a text holds what cannot be printed"),
        (rewrite(lambda each: each["artifacts"][0].update(file="../b/x.tflite")), "must be the plain name of a file"),
        (rewrite(lambda each: each["artifacts"][0].update(file="/etc/passwd")), "must be the plain name of a file"),
        (rewrite(many_files), "list 304 files \\(valid: up to 256\\)"),
        (rewrite(enormous_files), "bytes \\(valid: up to 4294967296\\)"),
    ],
)
def test_a_bundle_made_to_do_harm_is_refused_in_one_line(folder: Path, harm: Callable, reason: str) -> None:
    harm(folder)
    with pytest.raises(BadFileError, match=reason) as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)


def test_a_sample_of_more_memory_than_allowed_is_not_unpacked(folder: Path) -> None:
    rewrite(lambda document: document["sample"].update(images=100_000))(folder)
    rewrite(lambda document: document["input"].update(height=4096, width=4096))(folder)
    with pytest.raises(BadFileError, match="has 5033164800000 bytes, at most 268435456 are allowed"):
        open_bundle(folder).sample()


def test_a_file_of_other_classes_than_the_manifest_says_is_refused(folder: Path) -> None:
    rewrite(lambda document: document["dataset"].update(classes=2))(folder)
    (folder / "labels.txt").write_text("ant\nbee\n")
    relist(folder)
    bundle = open_bundle(folder)
    with pytest.raises(BadFileError, match="number of classes is 3 in the file, but its manifest says 2"):
        bundle.open(bundle.artifact())
