"""Bundles that stay on a board: a folder per version, a link to the one that runs, and the one before kept.

Below ``~/.local/share/edgecnn`` there:

    env-KEY/venv                 edgecnn and LiteRT
    NAME/versions/KEY/bundle/    a bundle; beside it ``edgecnn`` (a launcher), ``env`` and the files of the self-test
    NAME/current                 a link to the version that runs
    NAME/previous                a link to the one before it

The link is moved last, in one step: whatever fails before leaves running what ran.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecnn.deploy.self_test import BUNDLE, EXPECTED, REPORT, Report, expect
from edgecnn.deploy.ssh.address import Address, last_line
from edgecnn.deploy.ssh.board import Board, Claim
from edgecnn.deploy.ssh.connection import LinkError
from edgecnn.deploy.ssh.environment import LIGHT, Environment, Install
from edgecnn.deploy.ssh.service import EXTRA, Staged, check_rights, home_of, serve, serve_previous, unit_of
from edgecnn.errors import BadFileError, CheckFailedError, UsageError
from edgecnn.runtime.bundle import Bundle, open_bundle
from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import MANIFEST
from edgecnn.runtime.records import decode, read_json
from edgecnn.runtime.signature import SIGNATURE
from edgecnn.runtime.terminal import printable

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
DEFAULT_NAME = "classifier"
REPORT_LIMIT = 1 << 16
LAUNCHER = '#!/bin/sh\nexec {python} -P -m edgecnn "$@"\n'

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployed:
    """What runs on a board now: its version, the one before it (None if there is none), where both are, and what the
    self-test gave; ``service`` is the systemd unit that serves it, if one does."""

    target: str
    name: str
    folder: str
    version: str
    previous: str | None
    images: int | None = None
    correct: int | None = None
    engine: str | None = None
    service: str | None = None

    @property
    def launcher(self) -> str:
        """The program on the board that is edgecnn as this version has it."""
        return f"{self.folder}/current/edgecnn"

    @property
    def bundle(self) -> str:
        """The folder of the bundle that runs, on the board."""
        return f"{self.folder}/current/{BUNDLE}"


@dataclass(frozen=True)
class _State:
    """What a board says that it has of a name."""

    root: str
    current: str | None
    previous: str | None


def check_name(name: str) -> str:
    """The name, if it can be a folder's. Raises UsageError."""
    if NAME.fullmatch(name) is None or name.startswith("env-"):
        raise UsageError(
            f"--name '{printable(name)[:60]}' cannot be used (valid: 1 to 32 of a-z, 0-9, _ and -, not env-...)"
        )
    return name


def deploy(
    address: Address,
    path: Path,
    name: str,
    install: Install,
    say: Say = lambda _line: None,
    *,
    service: bool = False,
    key: Path | None = None,
) -> Deployed:
    """Put the bundle in the folder ``path`` on a board, test it there, and make it the version that runs.

    With ``key``, a public PEM file, the bundle must be signed by it. As a ``service`` it is then copied to root's
    folder, where systemd keeps it running (see service.py), and nothing stays in the user's. Raises what open_bundle,
    Board and Environment do, and CheckFailedError when the self-test fails or the service does not get ready; then, as
    after an interruption, what ran before runs on and the new version is removed.
    """
    bundle = open_bundle(path, key)
    stop = threading.Event()  # never set: Ctrl-C comes as an exception
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as work, Board(address, stop, say, "share") as board:
        folder = Path(work)
        wanted = expect(bundle, folder)
        facts = board.open()
        if service:
            check_rights(board)
        environment = Environment(facts, (LIGHT,), install, folder, EXTRA if service else None)
        version = _key(environment.key, bundle)
        token = secrets.token_hex(8)
        elsewhere = {"or_in": home_of(name)} if service else {}
        claimed = board.claim(job=name, token=token, env=environment.key, **elsewhere)
        try:
            if not claimed.ready:
                say("installing edgecnn there")
            python = environment.make(board, claimed, name, token, stop)
            say(f"copying version {version}")
            _copy(board, bundle, folder, f"{name}/versions/{version}", environment.key, python)
            found = _test(board, claimed, python, name, version, token, folder)
            found.check(wanted, str(address))
            if service:
                say(f"starting the service {unit_of(name)}")
                serve(board, name, token, Staged(claimed.root, version, claimed.env))
            elif board.ask("switch", job=name, version=version, token=token).get("taken"):
                raise CheckFailedError(f"{address}: '{name}' is being deployed from elsewhere too; wait for that")
        except LinkError:
            raise  # nothing can be tidied, and the same command goes on with what is there
        except BaseException:
            board.tidy(name, token)
            raise
        board.tidy(name, token)
        return _deployed(board, name, found, service)


def rollback(address: Address, name: str, say: Say = lambda _line: None, *, service: bool = False) -> Deployed:
    """Make the version before the one that runs, or that is served, the one that does; that one becomes the one before.

    Raises UsageError when there is none, CheckFailedError when it is to be served and does not get ready.
    """
    with Board(address, threading.Event(), say, "share") as board:
        board.open()
        if service:
            check_rights(board)
        state = _state(board, _folder(name, service))
        if state.previous is None:
            there = "nothing" if state.current is None else f"only version {state.current}"
            if not service and _state(board, home_of(name)).current is not None:
                there += "; as a service there is one, which --service goes back from"
            raise UsageError(f"{address}: there is no version of '{name}' to go back to ({there} was deployed)")
        if service:
            token = secrets.token_hex(8)
            board.ask("own", job=name, token=token)
            try:
                serve_previous(board, name, token)
            finally:
                board.tidy(name, token)
        else:
            board.ask("switch", job=name, version=state.previous, token=None)
        return _deployed(board, name, None, service)


def _copy(board: Board, bundle: Bundle, work: Path, place: str, environment: str, python: str) -> None:
    (work / "env").write_text(environment)
    (work / "edgecnn").write_text(LAUNCHER.format(python=python))
    names = [*_heads(bundle), *(entry.file for entry in bundle.manifest.listed)]
    files = {f"{place}/{BUNDLE}/{file}": bundle.path / file for file in names}
    board.put(files | {f"{place}/{file}": work / file for file in ("env", "edgecnn", EXPECTED)})


def _test(board: Board, claimed: Claim, python: str, name: str, version: str, token: str, work: Path) -> Report:
    place = f"{name}/versions/{version}"
    command = [python, "-P", "-m", "edgecnn.deploy.self_test", f"{claimed.root}/{place}"]
    board.ask("start", folder=place, task="self-test", commands=[command], done=[], alone=False)
    said: list[str] = []
    code = board.follow(said.append, folder=place, task="self-test", job=name, token=token)
    if code != 0:
        how = "was ended from outside" if code is None else f"ended with exit code {code}"
        raise CheckFailedError(f"{board.address}: the self-test there {how}: {last_line(chr(10).join(said))}")
    board.fetch(f"{place}/{REPORT}", work / REPORT, REPORT_LIMIT)
    try:
        report: Report = decode(Report, read_json(work / REPORT, REPORT_LIMIT))
    except BadFileError as error:
        reason = last_line(str(error))
        raise CheckFailedError(f"{board.address}: the self-test there reported nonsense: {reason}") from error
    return report


def _folder(name: str, service: bool) -> str:
    """Where the versions of a name are: as onboard.py has it, below its own folder, or from the root."""
    return home_of(name) if service else name


def _state(board: Board, folder: str) -> _State:
    state: _State = board.told(_State, board.ask("state", job=folder))
    return state


def _deployed(board: Board, name: str, report: Report | None, service: bool) -> Deployed:
    folder = _folder(name, service)
    state = _state(board, folder)
    assert state.current is not None  # it was switched to
    known = () if report is None else (report.images, report.correct, printable(report.engine))
    there = Deployed(str(board.address), name, f"{state.root}/{name}", state.current, state.previous, *known)
    return dataclasses.replace(there, folder=folder, service=unit_of(name)) if service else there


def _heads(bundle: Bundle) -> list[str]:
    """The manifest, and its signature where there is one: what says what all else is."""
    return [name for name in (MANIFEST, SIGNATURE) if (bundle.path / name).is_file()]


def _key(environment: str, bundle: Bundle) -> str:
    """Names the version: the same for the same bundle and edgecnn."""
    content = json.dumps([environment, *(sha256(bundle.path / name) for name in _heads(bundle))])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
