"""Fetches CIFAR-10 through torchvision, so that the data folder never shows half of it."""

from __future__ import annotations

import os
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from edgecnn.errors import EdgeCNNError, MissingExtraError, OutputError

PYTHON_FOLDER = "cifar-10-batches-py"
MIRROR_VARIABLE = "EDGECNN_CIFAR10_URL"
SILENCE = 10.0  # seconds without an answer after which the network counts as dead


@dataclass(frozen=True)
class Source:
    """Where the archive lies, and its MD5 in hex as published."""

    url: str
    md5: str


OFFICIAL = Source("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")


def configured_source() -> Source:
    """The official archive, from the mirror ``$EDGECNN_CIFAR10_URL`` if that is set; its checksum stays the same."""
    return Source(os.environ.get(MIRROR_VARIABLE) or OFFICIAL.url, OFFICIAL.md5)


def download(root: Path, source: Source = OFFICIAL) -> None:
    """Put the Python layout of CIFAR-10 at ``root / PYTHON_FOLDER``, with a progress bar on standard error (170 MB).

    Archive and content lie in a hidden temporary folder in ``root`` until they are complete and the checksum was
    right; a kill leaves at most that folder. Raises EdgeCNNError when the source cannot be reached or sends
    something else, OutputError when ``root`` cannot be written, MissingExtraError without torchvision.
    """
    fetch = _torchvision()
    target = root / PYTHON_FOLDER
    try:
        root.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(prefix=".cifar-10.", suffix=".tmp", dir=root)
    except OSError as error:
        raise OutputError(
            f"CIFAR-10 cannot be kept in {root}: {error.strerror}; set EDGECNN_DATA to a folder that can be written"
        ) from error
    with work as name, _one_line(source), _timeout(SILENCE):
        fetch(source.url, name, filename="cifar-10-python.tar.gz", md5=source.md5, remove_finished=True)
        content = Path(name, PYTHON_FOLDER)
        if not content.is_dir():
            raise EdgeCNNError(f"the archive at {source.url} holds no folder {PYTHON_FOLDER}; choose another mirror")
        try:
            os.rename(content, target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise


def _torchvision() -> Callable[..., None]:
    """torchvision's function that downloads and unpacks; imported late because it brings torch."""
    try:
        from torchvision.datasets.utils import download_and_extract_archive
    except ModuleNotFoundError as error:
        raise MissingExtraError("downloading CIFAR-10", "torchvision", "train") from error
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise EdgeCNNError(
            f"CIFAR-10 could not be downloaded: torchvision does not import ({_first_line(error)}); it does not fit "
            "this torch, and a CPU-only torch needs the torchvision from the same index"
        ) from error
    return download_and_extract_archive


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """A default for the sockets that torchvision opens without a time limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _one_line(source: Source) -> Iterator[None]:
    """Turn what a download can die of into one EdgeCNNError with the address and the reason."""
    cause: Exception
    try:
        yield
    except RecursionError as error:
        reason, cause = "too many redirects", error
    except RuntimeError as error:  # torchvision's word for a wrong checksum
        reason, cause = f"what arrived is cut off or altered: its MD5 is not {source.md5}", error
    except (OSError, HTTPException, tarfile.TarError, zlib.error, EOFError, ValueError) as error:
        if isinstance(error, URLError) and not isinstance(error, HTTPError):
            reason = _first_line(error.reason)
        else:
            reason = _first_line(error)
        cause = error
    else:
        return
    raise EdgeCNNError(f"CIFAR-10 could not be downloaded from {source.url}: {reason}") from cause


def _first_line(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]
