"""A data set from a folder of images: ``train/<class>/*`` and ``test/<class>/*``, decoded on demand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.data.dataset import DataSet
from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.runtime.picture import MODES, BadPictureError, decode, quiet

IMAGE = (32, 32, 3)
ON_BROKEN = ("refuse", "skip")
_NAMED = 3  # how many broken images a message lists
_SPLITS = ("train", "test")


@dataclass(frozen=True)
class Files:
    """A split whose images are decoded when taken: paths, labels int64 [n] and the size they are brought to."""

    paths: tuple[Path, ...]
    labels: np.ndarray
    image: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [n, height, width, channels] and labels int64 [n] at ``indices``, in that order."""
        images = np.empty((len(indices), *self.image), np.uint8)
        for row, index in enumerate(indices):
            try:
                images[row] = decode(self.paths[index], self.image)
            except BadPictureError as error:
                reason = f"could be read before and cannot now: {error.reason}"
                raise BadFileError(f"{self.paths[index]} {reason}") from error
        return images, self.labels[indices]


def load(path: Path, name: str, image: tuple[int, int, int] = IMAGE, on_broken: str = "refuse") -> DataSet:
    """The images under ``path``, brought to ``image`` (height, width, channels) as ``decode`` says.

    Classes are the folders of ``train``, sorted by name; those of ``test`` must be the same. Names that begin with
    a dot are ignored; every other file in a class folder counts as an image. Each is decoded once here, which costs
    about as much as reading the data set once, so that a broken one is found now and not hours into a run: with
    ``on_broken`` "refuse" they are an error, with "skip" they are left out and counted in ``DataSet.note``. The
    order of each split is a fixed shuffle, so that its first n images are a fair sample.

    Raises BadFileError for a missing folder, fewer than two classes, classes that differ between train and test, a
    class without images or with a name that no line of text can hold, broken images; UsageError for an impossible
    ``image``.
    """
    if on_broken not in ON_BROKEN:
        raise UnknownNameError("choice for broken images", on_broken, ON_BROKEN)
    if min(image) < 1 or image[2] not in MODES:
        raise UsageError(f"images of {image} are not possible: height and width from 1, channels 1 to 4")
    classes = _classes(path)
    found = {split: _files(path / split, classes) for split in _SPLITS}
    total = sum(len(files) for files in found.values())
    reasons = _broken([file for files in found.values() for file, _ in files], image)
    listed = ", ".join(f"{file.relative_to(path)} ({reason})" for file, reason in list(reasons.items())[:_NAMED])
    summary = f"{len(reasons):,} of {total:,} images in {path} cannot be read: {listed}" + (
        ", ..." if len(reasons) > _NAMED else ""
    )
    if reasons and on_broken == "refuse":
        raise BadFileError(f"{summary}; repair or remove them, or pass --on-broken skip")
    train, test = (_split(path / split, found[split], reasons, classes, image) for split in _SPLITS)
    return DataSet(name, classes, image, train, test, f"skipped: {summary}" if reasons else "")


def _classes(path: Path) -> tuple[str, ...]:
    """The class names, which train and test must share."""
    if not path.is_dir():
        raise BadFileError(f"there is no data set folder {path}; it needs train/<class>/* and test/<class>/*")
    for split in _SPLITS:
        if not (path / split).is_dir():
            raise BadFileError(f"{path} has no folder '{split}'; a data set needs train/<class>/* and test/<class>/*")
    train, test = ({entry.name for entry in _visible(path / split) if entry.is_dir()} for split in _SPLITS)
    if train != test:
        only = [
            f"only {split} has {', '.join(sorted(names))}"
            for split, names in (("train", train - test), ("test", test - train))
            if names
        ]
        raise BadFileError(f"train and test in {path} must have the same class folders, but {' and '.join(only)}")
    if len(train) < 2:
        has = f"only the class '{train.pop()}'" if train else "no class folders"
        raise BadFileError(f"{path} has {has}; at least two are needed, as train/<class>/* and test/<class>/*")
    for name in sorted(train):
        if name.splitlines() != [name] or name != name.encode(errors="replace").decode():
            raise BadFileError(
                f"the class folder {name!r} in {path} has a name that is not one line of UTF-8; give it another"
            )
    return tuple(sorted(train))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise BadFileError(f"the data set folder {folder} cannot be read: {error.strerror}") from error


def _files(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """All files of one split with their labels, class by class."""
    return [(file, label) for label, name in enumerate(classes) for file in _visible(folder / name)]


def _broken(paths: Sequence[Path], image: tuple[int, int, int]) -> dict[Path, str]:
    """The files that cannot be decoded, each with the reason."""

    def reason(path: Path) -> str | None:
        try:
            decode(path, image)
        except BadPictureError as error:
            return error.reason
        return None

    with quiet(), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        reasons = list(pool.map(reason, paths))
    return {path: text for path, text in zip(paths, reasons, strict=True) if text is not None}


def _split(
    folder: Path,
    files: Sequence[tuple[Path, int]],
    broken: dict[Path, str],
    classes: Sequence[str],
    image: tuple[int, int, int],
) -> Files:
    kept = [(file, label) for file, label in files if file not in broken]
    counts = np.bincount([label for _, label in kept], minlength=len(classes))
    if not counts.all():
        raise BadFileError(f"the class folder {folder / classes[int(counts.argmin())]} has no images that can be used")
    order = np.random.RandomState(0).permutation(len(kept))  # the legacy generator: its stream is frozen
    return Files(
        tuple(kept[index][0] for index in order), np.array([kept[index][1] for index in order], np.int64), image
    )
