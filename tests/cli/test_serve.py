"""``edgecnn serve`` that is not to start: one line, exit code 2."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from edgecnn.cli.main import main
from tests import tiny_artifacts
from tests.serve.serving import run, serving
from tests.tiny_artifacts import INT8_FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a-secret-word\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def none(tmp_path: Path) -> Path:
    """A bundle that is not there, which nobody looks at before all else is in order."""
    return tmp_path / "none"


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line of a server that does not start."""
    assert main(["serve", *map(str, words)]) == 2
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith("edgecnn: error: ")
    return line.removeprefix("edgecnn: error: ")


def test_a_bad_bundle(folder: Path) -> None:
    (folder / INT8_FILE).write_bytes(b"x")
    code, lines = run(folder, "--port", 0)
    assert code == 2
    assert len(lines) == 1 and lines[0].startswith(
        f"edgecnn: error: {folder / INT8_FILE} has 1 bytes, but the manifest"
    )


def test_no_bundle(none: Path, capfd) -> None:
    assert f"there is no {none} to read; give the folder of a bundle" in refused(capfd, none, "--port", 0)


def test_a_key_that_is_not_there(folder: Path, tmp_path: Path, capfd) -> None:
    assert f"{tmp_path / 'key.pub'}" in refused(capfd, folder, "--port", 0, "--require-signature", tmp_path / "key.pub")


def test_a_port_that_is_taken(none: Path, capfd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(capfd, none, "--port", port)
    assert line == (
        f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another --host or --port (--port 0 "
        "takes one that is free)"
    )


def test_a_port_that_another_server_has(folder: Path, capfd) -> None:
    with serving(folder) as served:
        assert "Address already in use" in refused(capfd, folder, "--port", served.port)


def test_a_host_that_is_unknown(none: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*words: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    line = refused(capfd, none, "--host", "attic")
    assert line == "--host attic is no address of this machine: Name or service not known"


def test_a_host_that_can_be_none(none: Path, capfd) -> None:
    assert refused(capfd, none, "--host", "x" * 300).startswith(f"--host {'x' * 300} is no address of this machine: ")


def test_an_address_of_another_machine(none: Path, capfd, token: Path) -> None:
    line = refused(capfd, none, "--host", "192.0.2.1", "--port", 0, "--token-file", token)
    assert line.startswith("cannot listen on 192.0.2.1 port 0: ")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_a_token_is_needed(none: Path, capfd, host: str) -> None:
    line = refused(capfd, none, "--host", host, "--port", 0)
    assert line.startswith(f"--host {host} can be reached from other machines: give --token-file FILE, ")


@pytest.mark.parametrize("content", ["", " \n", "two words", "caf\u00e9", "x" * 5000, "a\x00b"])
def test_a_token_that_is_none(none: Path, capfd, token: Path, content: str) -> None:
    token.write_text(content)
    assert "must hold one word of printable ASCII" in refused(capfd, none, "--token-file", token)


def test_a_token_that_everybody_may_read(none: Path, capfd, token: Path) -> None:
    token.chmod(0o644)
    line = refused(capfd, none, "--token-file", token)
    assert line == f"the token file {token} can be read by everybody; run: chmod 600 {token}"


def test_a_token_file_that_is_none(none: Path, capfd, tmp_path: Path) -> None:
    assert refused(capfd, none, "--token-file", tmp_path / "nothing").endswith(
        "cannot be read: No such file or directory"
    )
    os.mkfifo(tmp_path / "pipe")
    assert refused(capfd, none, "--token-file", tmp_path / "pipe").endswith("is no plain file")


def test_without_the_extra(none: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("edgecnn.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    assert refused(capfd, none).endswith("is not installed; run: pip install 'edgecnn[serve]'")
