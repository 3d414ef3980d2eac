"""A bundle folder, opened and verified: nothing in it is used before its size and SHA-256 fit the manifest."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.runtime.artifact import check_same, open_artifact
from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import Artifact, FileEntry, Manifest
from edgecnn.runtime.runner import Runner

LABELS_LIMIT = 1 << 20  # bytes

# What zipfile, zlib and numpy raise for archives that are damaged or made to do harm.
UNREADABLE = (
    OSError, KeyError, ValueError, EOFError, RuntimeError, NotImplementedError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error,
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
        """A Runner of one of the bundle's artifacts; see open_artifact for the errors."""
        path = self.path / artifact.file
        runner = open_artifact(path, artifact, image=self.manifest.input, threads=threads)
        check_same(path, "number of classes", runner.classes, self.manifest.dataset.classes)
        return runner

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


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle and verify the size and SHA-256 of every file that its manifest lists.

    Raises BadFileError naming the first file or field that does not fit.
    """
    manifest = Manifest.load(folder)
    for entry in manifest.listed:
        _verify(folder, entry)
    path = folder / manifest.labels
    if path.stat().st_size > LABELS_LIMIT:
        raise BadFileError(f"{path} is larger than the {LABELS_LIMIT} bytes allowed")
    try:
        labels = tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path} is not UTF-8 text ({error})") from error
    if len(labels) != manifest.dataset.classes:
        raise BadFileError(f"{path} holds {len(labels)} labels, but dataset.classes is {manifest.dataset.classes}")
    return Bundle(folder, manifest, labels)


def find_artifact(path: Path) -> tuple[Bundle, Artifact]:
    """The bundle and the artifact that ``path`` means: a bundle's folder its main TFLite file, a file in it that one.

    Raises what open_bundle does, and UnknownNameError.
    """
    bundle = open_bundle(path if path.is_dir() else path.parent)
    return bundle, bundle.artifact() if path.is_dir() else bundle.file(path.name)


def _verify(folder: Path, entry: Artifact | FileEntry) -> None:
    path = folder / entry.file
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
    expected = int(np.prod(shape)) * dtype.itemsize
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            content = io.BytesIO(member.read(expected + 65_536))
        array: np.ndarray = np.load(content, allow_pickle=False)
    except UNREADABLE as error:
        raise BadFileError(f"{path}: array '{name}' cannot be read: {error}; copy the bundle again") from error
    if array.dtype != dtype or array.shape != shape:
        raise BadFileError(
            f"{path}: array '{name}' is {array.dtype} {list(array.shape)}, but the manifest says {dtype} {list(shape)}"
        )
    return array
