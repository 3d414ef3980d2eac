"""CIFAR-10 from its official files, read in pieces.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009),
https://www.cs.toronto.edu/~kriz/cifar.html: 50,000 training and 10,000 test images of 32x32x3 in 10 classes.
Two layouts are known, looked for in this order:

    cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin    records of 1 label byte and 3,072 pixel bytes
    cifar-10-batches-py/{data_batch_1..5,test_batch}         pickles, read without unpickling (cifar10_python.py)

An image is 1,024 red, 1,024 green and 1,024 blue bytes, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.data import cifar10_python
from edgecnn.data.dataset import DataSet
from edgecnn.data.download import PYTHON_FOLDER, configured_source, download
from edgecnn.data.location import VARIABLE, data_root
from edgecnn.errors import BadFileError, EdgeCNNError, UsageError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY_FOLDER = "cifar-10-batches-bin"
IMAGE = (32, 32, 3)
_PIXELS = 3072
_PER_FILE = 10_000
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)


@dataclass(frozen=True)
class Batch:
    """One file of 10,000 images: where its pixels begin, the distance from image to image (bytes), its labels."""

    path: Path
    offset: int
    stride: int
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Pixels uint8 [n, 3072] of the images ``rows``, copied, so that the file is mapped only meanwhile."""
        try:
            records = np.memmap(self.path, np.uint8, "r", self.offset, (_PER_FILE, self.stride))
        except (OSError, ValueError) as error:
            raise BadFileError(f"{self.path} changed while it was in use: {error}") from error
        return np.array(records[rows, self.stride - _PIXELS :])


@dataclass(frozen=True)
class Batches:
    """The files of one split. Only the labels are held; pixels are read when taken."""

    files: tuple[Batch, ...]

    def __len__(self) -> int:
        return _PER_FILE * len(self.files)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [n, 32, 32, 3] and labels int64 [n] at ``indices``, in that order."""
        images = np.empty((len(indices), *IMAGE), np.uint8)
        labels = np.empty(len(indices), np.int64)
        numbers, rows = np.divmod(indices, _PER_FILE)
        for number in np.unique(numbers):
            here = np.flatnonzero(numbers == number)
            file = self.files[number]
            images[here] = file.take(rows[here]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            labels[here] = file.labels[rows[here]]
        return images, labels


def find(root: Path) -> Path | None:
    """The folder of CIFAR-10's files under ``root``, the binary layout first, or None."""
    for name in (BINARY_FOLDER, PYTHON_FOLDER):
        if (root / name).is_dir():
            return root / name
    return None


def load() -> DataSet:
    """CIFAR-10 from ``data_root()``, downloaded there first if neither layout is present.

    Raises BadFileError for a file that is missing, of the wrong size or foreign, and UsageError, saying where
    it looked and what to do, when the files are not there and cannot be downloaded.
    """
    root = data_root()
    if find(root) is None:
        try:
            download(root, configured_source())
        except EdgeCNNError as error:
            raise UsageError(
                f"{error}; looked for {BINARY_FOLDER}/ and {PYTHON_FOLDER}/ in {root}: put one of them there, "
                f"set {VARIABLE} to the folder that has it, or choose the data set 'digits'"
            ) from error
    folder = find(root)
    assert folder is not None, "download() returned without the folder it promises"
    return DataSet("cifar10", CLASSES, IMAGE, _split(folder, _TRAIN), _split(folder, _TEST))


def _split(folder: Path, names: Sequence[str]) -> Batches:
    read = _binary if folder.name == BINARY_FOLDER else _python
    return Batches(tuple(read(folder, name) for name in names))


def _binary(folder: Path, name: str) -> Batch:
    path = folder / f"{name}.bin"
    expected = _PER_FILE * (1 + _PIXELS)
    size = _size(path)
    if size != expected:
        raise BadFileError(f"{path} has {size:,} bytes instead of {expected:,}: fetch it again")
    labels = np.memmap(path, np.uint8, "r", shape=(_PER_FILE, 1 + _PIXELS))[:, 0].astype(np.int64)
    return Batch(path, 0, 1 + _PIXELS, _checked(path, labels))


def _python(folder: Path, name: str) -> Batch:
    path = folder / name
    size, least, most = _size(path), _PER_FILE * _PIXELS, _PER_FILE * (_PIXELS + 1024)
    if not least < size < most:
        raise BadFileError(f"{path} has {size:,} bytes instead of {least:,} to {most:,}: fetch it again")
    offset, labels = cifar10_python.locate(path, (_PER_FILE, _PIXELS))
    return Batch(path, offset, _PIXELS, _checked(path, labels))


def _size(path: Path) -> int:
    if not path.is_file():
        raise BadFileError(f"{path} is missing: fetch CIFAR-10 again, or remove {path.parent}")
    return path.stat().st_size


def _checked(path: Path, labels: np.ndarray) -> np.ndarray:
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        wrong = int(np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))[0])
        raise BadFileError(
            f"{path} is not a CIFAR-10 file: image {wrong} has the label {labels[wrong]}, allowed are 0 to 9"
        )
    return labels
