"""The virtual environment on a board: what goes into it, where its wheels come from, and how it is made there."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import edgecnn
from edgecnn.deploy.downloads import Platform, download, reason
from edgecnn.deploy.ssh.board import Board, Claim
from edgecnn.deploy.ssh.facts import Facts
from edgecnn.deploy.wheel import build_wheel, requirements
from edgecnn.errors import BadFileError, CheckFailedError, EdgeCNNError, OutputError, UsageError
from edgecnn.runtime.engines import RUNTIMES
from edgecnn.runtime.files import sha256
from edgecnn.runtime.terminal import printable

LIGHT = "litert"  # the runtime that the light install brings
FROM_INDEX = 400 << 20  # bytes that the light install needs, pip's downloads among them; 190 MB stay
BARE = 40 << 20  # bytes of an environment with nothing but pip, and of what a bench writes


@dataclass(frozen=True)
class Install:
    """How edgecnn reaches a board: over the board's index, or ``offline`` with wheels carried along, those in the
    folder ``wheels`` or else downloaded here for it. ``keep`` leaves the environment there for the next time."""

    offline: bool = False
    wheels: Path | None = None
    keep: bool = False


class Environment:
    """An environment for some runtimes on a board, and for an ``extra`` of edgecnn; ``key`` names it and changes with
    everything that is in it."""

    def __init__(
        self, facts: Facts, runtimes: Sequence[str], install: Install, work: Path, extra: str | None = None
    ) -> None:
        self._facts, self._install, self._work = facts, install, work
        self._own = build_wheel(work)
        self._extras = [_package(name) for name in runtimes if name != LIGHT]
        self._extras += [] if extra is None else requirements(extra)
        self._given = _given(install.wheels, facts.machine) if install.wheels is not None else []
        content = [
            sha256(self._own), self._extras, install.offline, facts.python, facts.abi, facts.machine,
            [(path.name, sha256(path)) for path in self._given],
        ]  # fmt: skip
        self.key = "env-" + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def make(self, board: Board, claimed: Claim, job: str, token: str, stop: threading.Event) -> str:
        """Make it on the board unless it is there; the path of its Python.

        Raises OutputError when the disk there has too little room, CheckFailedError when a download or pip fails.
        """
        home = claimed.env
        python = f"{home}/venv/bin/python"
        if claimed.ready:
            return python
        wheels = self._given
        if self._install.offline and self._install.wheels is None:
            wanted = [*requirements(), *self._extras]
            wheels = download(wanted, platform_of(self._facts), self._work / "downloaded", stop)
        self._check_room(board, wheels, claimed.free)
        board.put({f"{self.key}/wheels/{path.name}": path for path in (self._own, *wheels)})
        source = ["--no-index", "--find-links", f"{home}/wheels"] if self._install.offline else []
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--only-binary", ":all:"]
        commands = [
            ["python3", "-m", "venv", "--clear", f"{home}/venv"],
            [python, "-m", "pip", "install", *quiet, *source, f"{home}/wheels/{self._own.name}", *self._extras],
            ["rm", "-r", f"{home}/wheels"],
        ]
        board.ask("start", folder=self.key, task="install", commands=commands, done=[0], alone=False)
        said: list[str] = []
        code = board.follow(said.append, folder=self.key, task="install", job=job, token=token)
        if code != 0:
            raise _failure(board, code, said)
        return python

    def _check_room(self, board: Board, wheels: Sequence[Path], free: int) -> None:
        needed = FROM_INDEX
        if self._install.offline:
            needed = BARE + sum(path.stat().st_size + _unpacked(path) for path in wheels)
        if free < needed:
            raise OutputError(
                f"{board.address}: the disk there is too full: edgecnn needs {needed >> 20} MB in ~/.cache, there are "
                f"{free >> 20} MB"
            )


def _package(runtime: str) -> str:
    """What pip calls a runtime."""
    return RUNTIMES[runtime].modules[0].partition(".")[0].replace("_", "-")


def _given(folder: Path, machine: str) -> list[Path]:
    """The wheels in a folder that are for any machine or this one."""
    wheels = sorted(path for path in folder.glob("*.whl") if path.is_file()) if folder.is_dir() else []
    tags = {path: path.stem.rpartition("-")[2].split(".") for path in wheels}
    fit = [path for path in wheels if any(tag == "any" or tag.endswith(f"_{machine}") for tag in tags[path])]
    if not fit:
        raise UsageError(
            f"--offline {folder}: holds no wheel for {machine} (valid: a folder of .whl files, or --offline alone as "
            "the last word, which downloads them)"
        )
    return [path for path in fit if not path.name.startswith("edgecnn-")]


def platform_of(facts: Facts) -> Platform:
    """What wheels for a board are for. Raises CheckFailedError for a C library that no wheel is known for."""
    kind, version = (*facts.libc, "", "")[:2]
    match = re.fullmatch(r"2\.(\d{1,3})", version)
    if kind != "glibc" or match is None:
        raise CheckFailedError(
            f"--offline cannot choose wheels for a board with the C library "
            f"'{printable(f'{kind} {version}')[:40]}'; collect them yourself and give their folder"
        )
    return Platform((facts.python[0], facts.python[1]), facts.machine, int(match[1]))


def _unpacked(wheel: Path) -> int:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise BadFileError(f"{wheel} is not a wheel ({error}); download it again") from error


def _failure(board: Board, code: int | None, said: Sequence[str]) -> EdgeCNNError:
    why = reason(said)
    if "No space left on device" in "\n".join(said):
        return OutputError(f"{board.address}: the disk there is full ({why}); free some space")
    how = "was ended from outside" if code is None else f"ended with exit code {code}"
    return CheckFailedError(f"{board.address}: installing edgecnn {edgecnn.__version__} there {how}: {why}")
