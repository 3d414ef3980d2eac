"""A bundle folder, opened and verified: nothing in it is used before its size and SHA-256 fit the manifest."""

from __future__ import annotations

import lzma
import math
import os
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.runtime.artifact import check_same, open_artifact
from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import MANIFEST, Artifact, FileEntry, Manifest, read_manifest
from edgecnn.runtime.proving import prove
from edgecnn.runtime.records import read_content
from edgecnn.runtime.runner import Runner
from edgecnn.runtime.signature import check_signature
from edgecnn.runtime.tflite_verifier import read_verified

LABELS_LIMIT = 1 << 20  # bytes
LABEL_LIMIT = 200  # characters
SAMPLE_LIMIT = 1 << 28  # bytes of images

# What zipfile, zlib and numpy raise for archives that are damaged or made to do harm.
UNREADABLE = (
    OSError, KeyError, ValueError, EOFError, RuntimeError, NotImplementedError, MemoryError, OverflowError,
    SyntaxError, TypeError, lzma.LZMAError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder, its manifest, and the class names in order."""

    path: Path
    manifest: Manifest
    labels: tuple[str, ...]

    def artifact(self, recipe: str | None = None, format: str = "tflite") -> Artifact:
        """The artifact of a recipe (the bundle's own when None) in a format. Raises UnknownNameError."""
        recipe = self.manifest.recipe if recipe is None else recipe
        for artifact in self.manifest.artifacts:
            if (artifact.recipe, artifact.format) == (recipe, format):
                return artifact
        there = [f"{artifact.recipe} {artifact.format}" for artifact in self.manifest.artifacts]
        raise UnknownNameError(f"artifact in {self.path}", f"{recipe} {format}", there)

    def file(self, name: str) -> Artifact:
        """The artifact in the file ``name``. Raises UnknownNameError when the manifest does not list it."""
        for artifact in self.manifest.artifacts:
            if artifact.file == name:
                return artifact
        raise UnknownNameError(
            f"artifact in {self.path}", name, [artifact.file for artifact in self.manifest.artifacts]
        )

    def open(self, artifact: Artifact, threads: int = 1) -> Runner:
        """A Runner of one of the bundle's artifacts, once it was proven; see prove and open_artifact for the errors."""
        path = self.path / artifact.file
        prove(path, artifact, self.manifest.input)
        runner = open_artifact(path, artifact, image=self.manifest.input, threads=threads)
        check_same(path, "number of classes", runner.classes, self.manifest.dataset.classes)
        return runner

    def content(self, artifact: Artifact) -> bytes:
        """The bytes of a TFLite file that was verified and proven. Raises BadFileError."""
        path = self.path / artifact.file
        prove(path, artifact, self.manifest.input)
        return read_verified(path, artifact.sha256)

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Test images uint8 [n, height, width, channels] and labels int64 [n] that came with the bundle.

        Raises UsageError where none came, BadFileError when they do not fit the manifest.
        """
        if self.manifest.sample is None:
            raise UsageError(
                f"{self.path} was made without a data set and holds no test images; take images from elsewhere "
                "(edgecnn compare has --data DATA for that)"
            )
        image, count = self.manifest.input, self.manifest.sample.images
        path = self.path / self.manifest.sample.file
        images = _read_array(path, "images", np.dtype(np.uint8), (count, image.height, image.width, image.channels))
        labels = _read_array(path, "labels", np.dtype(np.int64), (count,))
        if labels.min() < 0 or labels.max() >= self.manifest.dataset.classes:
            raise BadFileError(f"{path}: labels lie outside the {self.manifest.dataset.classes} classes")
        return images, labels


def open_bundle(folder: Path, key: Path | None = None) -> Bundle:
    """Open a bundle and verify the size and SHA-256 of every file that its manifest lists.

    With ``key``, a public PEM file, the manifest must be signed by it: see check_signature. Raises BadFileError naming
    the first file or field that does not fit.
    """
    content = read_manifest(folder)
    if key is not None:
        check_signature(folder, content, key)
    manifest = Manifest.parse(content, folder / MANIFEST)
    for entry in manifest.listed:
        try:
            _verify(folder, entry)
        except OSError as error:
            raise BadFileError(f"cannot read {folder / entry.file}: {error.strerror or error}") from error
    path = folder / manifest.labels
    try:
        labels = tuple(read_content(path, LABELS_LIMIT).decode("utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path} is not UTF-8 text ({error})") from error
    for label in labels:
        if not (label.isprintable() and 0 < len(label) <= LABEL_LIMIT):
            raise BadFileError(f"{path}: a label is {label[:40]!r} (valid: 1 to {LABEL_LIMIT} printable characters)")
    if len(labels) != manifest.dataset.classes:
        raise BadFileError(f"{path} holds {len(labels)} labels, but dataset.classes is {manifest.dataset.classes}")
    return Bundle(folder, manifest, labels)


def find_artifact(path: Path, key: Path | None = None) -> tuple[Bundle, Artifact]:
    """The bundle and the artifact that ``path`` means: a bundle's folder its main TFLite file, a file in it that one.

    Raises what open_bundle does, and UnknownNameError.
    """
    if os.path.isdir(path):
        bundle = open_bundle(path, key)
        return bundle, bundle.artifact()
    if not os.path.exists(path):
        raise BadFileError(f"there is no {path} to read; give the folder of a bundle, as 'edgecnn quantize' makes it")
    if not os.path.exists(path.parent / MANIFEST):
        raise BadFileError(f"{path} lies in no bundle, which has a {MANIFEST}; give the folder of one, or a file in it")
    bundle = open_bundle(path.parent, key)
    return bundle, bundle.file(path.name)


def _verify(folder: Path, entry: Artifact | FileEntry) -> None:
    path = folder / entry.file
    if path.is_symlink():
        raise BadFileError(f"{path} is a link, which a bundle may not hold; copy the files themselves")
    if not path.is_file():
        raise BadFileError(f"{path} is listed in the manifest but is not there; copy the whole bundle again")
    size = path.stat().st_size
    if size != entry.bytes:
        raise BadFileError(f"{path} has {size} bytes, but the manifest says {entry.bytes}; copy the bundle again")
    if sha256(path) != entry.sha256:
        raise BadFileError(f"{path} does not have the SHA-256 that the manifest says; copy the bundle again")


def _read_array(path: Path, name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    """One array of an .npz, unpacked only after its header says that it is of this type and shape.

    A small archive can unpack to any size, so no more than the expected bytes are ever read.
    """
    expected = math.prod(shape) * dtype.itemsize
    if expected > SAMPLE_LIMIT:
        raise BadFileError(f"{path}: array '{name}' has {expected} bytes, at most {SAMPLE_LIMIT} are allowed")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
            found = read(member)
            if found != (shape, False, dtype):
                there = f"{found[2]} {list(found[0])}"
                raise BadFileError(f"{path}: array '{name}' is {there}, but the manifest says {dtype} {list(shape)}")
            return np.frombuffer(member.read(expected), dtype).reshape(shape)
    except UNREADABLE as error:
        raise BadFileError(f"{path}: array '{name}' cannot be read: {error}; copy the bundle again") from error
