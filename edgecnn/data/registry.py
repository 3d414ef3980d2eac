"""Data sets by name: a dict of loaders that a user's own code can add to."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from edgecnn.data import cifar10, digits, folder
from edgecnn.data.dataset import DataSet
from edgecnn.data.download import configured_source, download
from edgecnn.data.location import data_root
from edgecnn.errors import EdgeCNNError, UnknownNameError, UsageError

Loader = Callable[[], DataSet]

_LOADERS: dict[str, Loader] = {}


def register(name: str) -> Callable[[Loader], Loader]:
    """Add a data set under ``name``.

        from edgecnn.data.dataset import DataSet, Memory
        from edgecnn.data.registry import register

        @register("blobs")
        def blobs() -> DataSet:
            train, test = Memory(images, labels), Memory(more_images, more_labels)  # uint8 [n, h, w, c], int64 [n]
            return DataSet("blobs", ("round", "square"), (32, 32, 3), train, test)

    Raises UsageError for a name that is taken.
    """

    def add(loader: Loader) -> Loader:
        if _LOADERS.get(name, loader) is not loader:
            raise UsageError(f"a data set named '{name}' is registered already; choose another name")
        _LOADERS[name] = loader
        return loader

    return add


def names() -> list[str]:
    """The registered names, our own first."""
    return list(_LOADERS)


def load(name: str, *, image: tuple[int, int, int] | None = None, on_broken: str = "refuse") -> DataSet:
    """The data set ``name``: a registered name, or the path of a folder with ``train/`` and ``test/``.

    ``image`` (height, width, channels) is the size a folder's images are brought to, 32x32x3 when None; the other
    data sets have one size, and asking for another is an error. ``on_broken`` says what to do with a folder's
    unreadable images: "refuse" or "skip". A caller prints ``DataSet.note``, when there is one, to standard error
    and carries it in its output.

    Raises UnknownNameError for a name that is neither; BadFileError for files that are damaged or missing;
    UsageError when CIFAR-10 is not here and cannot be downloaded, for an ``image`` that the data set does not have, and
    for ``on_broken`` where there are no files to be broken.
    """
    if name not in _LOADERS:
        if not (_looks_like_a_path(name) or Path(name).is_dir()):
            raise UnknownNameError("data set", name, [*_LOADERS, "path/of/a/folder"])
        path = Path(name).expanduser()
        if path.name in ("", ".."):
            path = path.resolve()  # as '.': what is made from it is named after the folder
        return folder.load(path, str(path), image or folder.IMAGE, on_broken)
    if on_broken != "refuse":
        raise UsageError(f"--on-broken {on_broken} is for the images of a folder, not for '{name}'; leave it out")
    dataset = _LOADERS[name]()
    if image is not None and image != dataset.image:
        has, wanted = ("x".join(map(str, size)) for size in (dataset.image, image))
        raise UsageError(f"data set '{dataset.name}' has images of {has}, not {wanted}; only a folder is resized")
    return dataset


def same(name: str, other: str) -> bool:
    """Whether two names are of one data set. A folder has several: with '/' behind it, relative, absolute."""
    if name == other or name in _LOADERS or other in _LOADERS:
        return name == other
    # By their text alone: what a header calls its data set may be anything.
    return os.path.abspath(os.path.expanduser(name)) == os.path.abspath(os.path.expanduser(other))


def _looks_like_a_path(name: str) -> bool:
    return any(separator in name for separator in {"/", os.sep})


register("cifar10")(cifar10.load)
register("digits")(digits.load)


@register("auto")
def auto() -> DataSet:
    """CIFAR-10 if it is here or can be downloaded, otherwise the embedded digits with a note that says so.

    Damaged files of CIFAR-10 are an error as with ``cifar10``: only its absence makes this fall back.
    """
    root = data_root()
    if cifar10.find(root) is None:
        try:
            download(root, configured_source())
        except EdgeCNNError as error:
            note = f"CIFAR-10 is not here ({error}): using the embedded digits instead; every figure is for digits"
            return dataclasses.replace(digits.load(), note=note)
    return cifar10.load()
