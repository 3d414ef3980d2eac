"""A package index on loopback with tiny wheels, and pip told to look nowhere else."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest


class Index:
    """The simple index (PEP 503) in a folder, at ``url``."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def add(self, name: str, version: str = "1", tag: str = "py3-none-any", requires: Sequence[str] = ()) -> Path:
        """Put a wheel of one empty module into the index."""
        project = self.folder / "simple" / name.replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        return tiny_wheel(project, name, version, tag, requires)


def tiny_wheel(folder: Path, name: str, version: str, tag: str, requires: Sequence[str] = (), module: str = "") -> Path:
    """Write a wheel of one module, which is empty or has this text."""
    path, info = folder / f"{name}-{version}-{tag}.whl", f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    tags = f"Tag: {tag}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", module)
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n{tags}")
        archive.writestr(f"{info}/RECORD", "".join(f"{each},,\n" for each in [*archive.namelist(), f"{info}/RECORD"]))
    return path


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def index_on_loopback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index for the time of a test, the only one that pip asks."""
    (folder / "simple").mkdir(parents=True)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        only_from(monkeypatch, PIP_INDEX_URL=url)
        try:
            yield Index(folder, url)
        finally:
            server.shutdown()
            thread.join()


def only_from(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Give pip these settings and no others."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
