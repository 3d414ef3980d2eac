"""Where the emulator's parts are kept, and how one that is made once appears: whole, and by one process alone."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

from edgecnn.errors import EdgeCNNError, OutputError
from edgecnn.runtime.files import new_folder
from edgecnn.runtime.places import cache_folder

VARIABLE = "EDGECNN_CACHE"

Say = Callable[[str], None]


def cache_root() -> Path:
    """``emulated-arm`` in ``$EDGECNN_CACHE``, else in the cache folder; it need not exist yet.

    Raises UsageError when the user has no home folder.
    """
    return cache_folder(VARIABLE) / "emulated-arm"


def once(path: Path, make: Callable[[Path], None], say: Say) -> Path:
    """The folder ``path``, filled by ``make`` if it is not there yet.

    It appears by a rename when it is complete; processes that want the same one wait for the first. What a killed
    process left is removed. Raises OutputError when the cache folder cannot be written, and what ``make`` raises.
    """
    if path.is_dir():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock").open("w") as lock:
            _take(lock.fileno(), path, say)
            if not path.is_dir():
                for leftover in path.parent.glob(f".{path.name}.*.tmp"):
                    shutil.rmtree(leftover)
                with new_folder(path) as work:
                    make(work)
    except EdgeCNNError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free the space, or set {VARIABLE} to another folder"
        ) from error
    return path


def _take(lock: int, path: Path, say: Say) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another process that makes {path}")
        fcntl.flock(lock, fcntl.LOCK_EX)
