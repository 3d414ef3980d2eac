"""A bundle that a board serves as long as it is on: what is asked of it as root, through ``sudo`` that asks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.deploy.ssh import onroot
from edgecnn.deploy.ssh.address import last_line
from edgecnn.deploy.ssh.board import Board, command_words
from edgecnn.errors import CheckFailedError, UsageError

OPT, UNITS, TOKENS = "/opt", "/etc/systemd/system", "/etc/edgecnn"
UNIT = Path(__file__).parent.parent / "edgecnn.service"
EXTRA = "serve"  # what of edgecnn a service needs besides the light install
TASK = "service"
FINISHED = (0, 1)  # exit codes with which onroot.py ended by itself


@dataclass(frozen=True)
class Staged:
    """A version that was tested in a user's folder: that folder, the version, and the environment's folder."""

    root: str
    version: str
    env: str


def unit_of(name: str) -> str:
    """The name of the systemd unit that serves what is called ``name``."""
    return f"edgecnn-{name}"


def home_of(name: str) -> str:
    """The folder on the board with its versions."""
    return f"{OPT}/{unit_of(name)}"


def check_rights(board: Board) -> None:
    """Raise UsageError, saying what to do, where no service can be made: no systemd, or sudo wants a password."""
    found = board.ask("rights")
    if found.get("systemd") is not True:
        raise UsageError(f"{board.address}: --service needs systemd, and it does not run there")
    if found.get("sudo") is not True:
        raise UsageError(
            f"{board.address}: --service needs root's rights for its last step, and sudo there wants a password "
            f"({last_line(str(found.get('said')))}); none is asked for here: let the user do without (there: sudo "
            "visudo -f /etc/sudoers.d/edgecnn, one line: USER ALL=(root) NOPASSWD: ALL), and take it back afterwards"
        )


def serve(board: Board, name: str, token: str, staged: Staged) -> None:
    """Serve a version as the unit of ``name``. Raises CheckFailedError where it does not get ready; what was served
    before is then served again, also where this process does not live to see it."""
    words: dict[str, Any] = {"staged": staged.root, "version": staged.version, "env": staged.env}
    _as_root(board, name, token, "install", words | {"name": name, "text": UNIT.read_text("utf-8")})


def serve_previous(board: Board, name: str, token: str) -> None:
    """Serve the version before. Raises like ``serve``."""
    _as_root(board, name, token, "rollback", {})


def _as_root(board: Board, name: str, token: str, do: str, words: dict[str, Any]) -> None:
    request = words | {"do": do, "unit": unit_of(name), "opt": OPT, "units": UNITS, "tokens": TOKENS}
    code, said = _run(board, name, token, request)
    if code not in FINISHED:
        _run(board, name, token, request | {"do": "settle"})
        raise CheckFailedError(
            f"{board.address}: the step as root was ended from outside; what was served is served on"
        )
    if code != 0:
        raise CheckFailedError(f"{board.address}: {unit_of(name)}: {last_line(said)}")


def _run(board: Board, name: str, token: str, request: dict[str, Any]) -> tuple[int | None, str]:
    """Have onroot.py carry out a request, detached from the connection; its exit code and what it said."""
    command = ["sudo", "-n", *command_words(onroot, request)]
    board.ask("start", folder=name, task=TASK, commands=[command], done=[], alone=False)
    said: list[str] = []
    return board.follow(said.append, folder=name, task=TASK, job=name, token=token), "\n".join(said)
