"""Downloading from a real local server: all or nothing, and one line when it fails."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgecnn.data import download as download_module
from edgecnn.data.download import OFFICIAL, PYTHON_FOLDER, Source, configured_source, download
from edgecnn.errors import EdgeCNNError, MissingExtraError, OutputError
from tests.data import factories

ARCHIVE = factories.archive()
FOREIGN = factories.archive("something-else")
MD5, FOREIGN_MD5 = (hashlib.md5(content, usedforsecurity=False).hexdigest() for content in (ARCHIVE, FOREIGN))


class Server(ThreadingHTTPServer):
    """Serves ``/whole``, ``/half`` (closes midway), ``/stall`` (stops midway) and ``/foreign``; else 404."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stalled = threading.Semaphore(0)
        self.release = threading.Event()

    def source(self, path: str, md5: str = MD5) -> Source:
        return Source(f"http://127.0.0.1:{self.server_port}{path}", md5)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = FOREIGN if self.path == "/foreign" else ARCHIVE
        if self.path not in ("/whole", "/half", "/stall", "/foreign"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path in ("/half", "/stall"):
            self.wfile.write(body[: len(body) // 2])
            if self.path == "/stall":
                self.server.stalled.release()
                self.server.release.wait()
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.release.set()
        running.shutdown()
        thread.join()


def assert_complete(root: Path) -> None:
    assert [entry.name for entry in root.iterdir()] == [PYTHON_FOLDER]
    assert {entry.name for entry in (root / PYTHON_FOLDER).iterdir()} == set(factories.NAMES)


def test_the_archive_arrives_whole_and_nothing_else_stays(server, tmp_path, capsys):
    root = tmp_path / "not" / "there" / "yet"
    before = socket.getdefaulttimeout()
    download(root, server.source("/whole"))
    assert_complete(root)
    assert socket.getdefaulttimeout() == before
    assert capsys.readouterr().out == "", "standard output is for results"


@pytest.mark.parametrize(
    ("path", "md5", "reason"),
    [
        ("/half", MD5, "cut off or altered"),
        ("/whole", "0" * 32, "its MD5 is not 0000"),
        ("/nowhere", MD5, "404"),
        ("/foreign", FOREIGN_MD5, "holds no folder"),
    ],
)
def test_a_bad_download_leaves_nothing_and_says_why(server, tmp_path, path, md5, reason):
    with pytest.raises(EdgeCNNError, match=reason) as caught:
        download(tmp_path, server.source(path, md5))
    assert "\n" not in str(caught.value)
    assert server.source(path).url in str(caught.value)
    assert list(tmp_path.iterdir()) == []


CHILD = """
import signal
import sys
from pathlib import Path
from edgecnn.data.download import Source, download
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts without it
download(Path(sys.argv[1]), Source(sys.argv[2], sys.argv[3]))
"""


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_download_leaves_nothing_that_can_be_mistaken_for_data(server, tmp_path, kill):
    source = server.source("/stall")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), source.url, source.md5],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    for _ in range(2):  # torchvision asks twice: where the address leads, then for the content
        assert server.stalled.acquire(timeout=120), "the download never began"
    child.send_signal(kill)
    assert child.wait() != 0
    left = [entry.name for entry in tmp_path.iterdir()]
    assert left == [] if kill == signal.SIGINT else all(name.startswith(".cifar-10.") for name in left)
    download(tmp_path, server.source("/whole"))
    assert (tmp_path / PYTHON_FOLDER / "test_batch").is_file()


def test_another_process_that_was_faster_is_no_error(server, tmp_path):
    (tmp_path / PYTHON_FOLDER).mkdir()
    (tmp_path / PYTHON_FOLDER / "theirs").touch()
    download(tmp_path, server.source("/whole"))
    assert [entry.name for entry in tmp_path.rglob("*")] == [PYTHON_FOLDER, "theirs"]


def test_a_dead_network_is_given_up_on(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download_module, "SILENCE", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # accepts, and never answers
        pytest.raises(EdgeCNNError, match="timed out"),
    ):
        download(tmp_path, Source(f"http://127.0.0.1:{silent.getsockname()[1]}/x", MD5))
    with pytest.raises(EdgeCNNError, match="refused"):
        download(tmp_path, Source("http://127.0.0.1:9/x", MD5))
    with pytest.raises(EdgeCNNError, match="unknown url type"):
        download(tmp_path, Source("nonsense", MD5))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be kept in .*file/below: Not a directory; set EDGECNN_DATA"):
        download(tmp_path / "file" / "below", Source("http://127.0.0.1:9/x", MD5))


def test_the_source_is_torchvisions_and_a_mirror_keeps_its_checksum(monkeypatch):
    from torchvision.datasets import CIFAR10

    assert Source(CIFAR10.url, CIFAR10.tgz_md5) == OFFICIAL
    monkeypatch.delenv("EDGECNN_CIFAR10_URL", raising=False)
    assert configured_source() == OFFICIAL
    monkeypatch.setenv("EDGECNN_CIFAR10_URL", "http://mirror/c.tar.gz")
    assert configured_source() == Source("http://mirror/c.tar.gz", OFFICIAL.md5)


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torchvision'\")", MissingExtraError, r"edgecnn\[train\]"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", EdgeCNNError, "nms .*CPU-only torch needs"),
    ],
)
def test_a_torchvision_that_is_missing_or_does_not_fit(tmp_path, monkeypatch, content, error, reason):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error, match=reason):
        download(tmp_path / "root", OFFICIAL)
    assert not (tmp_path / "root").exists()
