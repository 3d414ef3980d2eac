"""Writing files and folders so that a reader never sees half of one.

Everything is written under a temporary name beside its destination and renamed at the end. A kill
leaves at most a hidden ``.NAME.*.tmp`` beside the destination, never a truncated result.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecnn.errors import OutputError, OutputExistsError


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an operating-system error while writing ``path`` into a one-line OutputError."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "free the space or choose another place" if full else "choose another place"
        raise OutputError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def refuse_existing(path: Path, force: bool) -> None:
    """Raise OutputExistsError if ``path`` is there and ``force`` is false, OutputError where nothing can be written.

    Called before long work starts; nothing is made.
    """
    if not force and os.path.lexists(path):
        raise OutputExistsError(path)
    there = next(each for each in path.absolute().parents if os.path.lexists(each))
    with output_errors(path), tempfile.TemporaryFile(dir=there), suppress(FileNotFoundError):
        os.lstat(there / f".{path.name}.{8 * '_'}.tmp")  # as long as the name that it is written under first


def refuse_existing_file(path: Path, force: bool) -> None:
    """The same for what will be a file: not even ``force`` puts one in the place of a folder."""
    refuse_existing(path, force)
    refuse_folder(path)


def refuse_folder(path: Path) -> None:
    """Raise OutputError for a folder where a file is to be."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file, as {path / 'NAME'}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically, replacing what was there.

    Raises OutputError when the file system refuses.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def new_folder(path: Path, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends without an error.

    An existing ``path`` is refused before the block runs, or, with ``force``, swapped out only after the
    new content is complete. Raises OutputExistsError or OutputError.
    """
    refuse_existing(path, force)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        os.chmod(work, 0o755)
    try:
        yield work
        with output_errors(path):
            if os.path.lexists(path):
                refuse_existing(path, force)
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
                os.rename(path, old / path.name)
                os.rename(work, path)
                shutil.rmtree(old)
            else:
                os.rename(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
