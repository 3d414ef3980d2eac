"""A board to deploy to: a real SSH server on loopback, whose environments are scripts that run what is tested here."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecnn import __version__
from edgecnn.cli.main import main
from edgecnn.deploy.ssh import board as board_module
from edgecnn.deploy.ssh import environment
from edgecnn.deploy.wheel import build_wheel
from tests.conftest import Once
from tests.deploy.ssh_server import SshServer, python_folder, ssh_server

ROOT = Path(__file__).parent.parent.parent
WHEEL = f"edgecnn-{__version__}-py3-none-any.whl"
# Makes an environment of a script that runs what is tested here; pip installs nothing.
PYTHON3 = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$4/bin" && cp {programs}/in_venv "$4/bin/python"; exit; fi
exec {python} "$@"
"""
IN_VENV = """#!/bin/sh
case "$*" in *"-m pip install"*) exit 0;; esac
export PYTHONPATH={root}
{python} "$@" || exit
{after}
"""


class Home:
    """What a board has of edgecnn."""

    def __init__(self, server: SshServer) -> None:
        self.server, self.target = server, server.target
        self.folder = server.home / ".local/share/edgecnn"
        words = {"programs": server.programs, "python": Path(python_folder(), Path(sys.executable).resolve().name)}
        self._program("python3", PYTHON3.format(**words))
        self.after_each("")

    def _program(self, name: str, text: str) -> None:
        (self.server.programs / name).write_text(text)
        (self.server.programs / name).chmod(0o755)

    def after_each(self, command: str) -> None:
        """Let environments made from now on run a command after each of Python's."""
        self._program("in_venv", IN_VENV.format(root=ROOT, python=sys.executable, after=command))

    def running(self, name: str = "classifier") -> dict[str, Any] | None:
        """The manifest of the version that runs, None where none does."""
        path = self.folder / name / "current/bundle/manifest.json"
        found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
        return found

    def versions(self, name: str = "classifier") -> int:
        """How many versions are there."""
        return len(list(self.folder.glob(f"{name}/versions/*")))

    def environments(self) -> int:
        """How many environments are there."""
        return len(list(self.folder.glob("env-*")))


@contextlib.contextmanager
def deployed_to(folder: Path, once: Once, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A board for the time of a test; the wheel that goes there is made once."""
    monkeypatch.setattr(board_module, "PAUSES", (0.05, 0.2))
    monkeypatch.setattr(environment, "build_wheel", lambda folder: once("wheel", build_wheel) / WHEEL)
    with ssh_server(folder) as running:
        monkeypatch.setenv("EDGECNN_SSH_CONFIG", str(running.folder / "ssh_config"))
        yield Home(running)


def manifest(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    return found


def refused(words: list[str], capfd: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one line of an error."""
    assert main(["deploy", *words]) == code
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("edgecnn: error: ")]
    assert lines == err.splitlines()[-1:]
    return lines[0]
