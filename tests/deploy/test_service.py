"""A bundle that is served from a board as long as it is on: real SSH, with sudo and systemctl played by programs."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecnn.cli.main import main
from edgecnn.deploy.ssh import service
from edgecnn.deploy.ssh.board import Board
from tests import tiny_artifacts
from tests.conftest import Once
from tests.deploy.homes import Home, deployed_to, manifest, refused
from tests.deploy.manager import UNIT, Manager

SUDO = """#!/bin/sh
if [ -e {programs}/sudo_asks ]; then echo "sudo: a password is required" >&2; exit 1; fi
[ "$1" = -n ] && shift
exec "$@"
"""


class Served(Manager):
    """A board whose service manager is played; ``home_there`` is the user's folder."""

    def __init__(self, there: Home, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, there.server.programs)
        self.there, self.target = there, there.target
        for name, place in self.places.items():
            monkeypatch.setattr(service, name.upper(), place)
        self.program("sudo", SUDO.format(programs=self.programs))

    def sudo_asks(self) -> None:
        """Let sudo want a password."""
        (self.programs / "sudo_asks").touch()

    def settle(self) -> None:
        """Wait until what was begun there has ended."""
        end = time.monotonic() + 60
        while self.there.server.processes():
            assert time.monotonic() < end, "it does not end"


@pytest.fixture
def board(tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with deployed_to(tmp_path / "server", once, monkeypatch) as home:
        yield Served(home, tmp_path / "root", monkeypatch)


def deploy(board: Served, bundle: Path) -> int:
    return main(["deploy", str(bundle), board.target, "--service"])


def rollback(board: Served) -> int:
    return main(["deploy", "--rollback", board.target, "--service"])


def test_a_bundle_is_served_from_roots_folder_and_nothing_stays_in_the_users(
    board: Served, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", str(first), board.target, "--service", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert board.running() == board.at_boot() == manifest(first)
    assert (told["service"], told["folder"]) == (UNIT, str(board.home))
    assert manifest(Path(told["bundle"])) == manifest(first)
    assert board.asked() == [
        "daemon-reload", f"enable {UNIT}.service", f"reset-failed {UNIT}.service", f"restart {UNIT}.service",
    ]  # fmt: skip
    assert not board.there.folder.exists()
    assert board.there.server.processes() == []


def test_what_is_served_is_readable_by_anyone_and_the_token_by_root_alone(board: Served, first: Path) -> None:
    assert deploy(board, first) == 0
    for path in (board.home).rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in (0o755, 0o644), path
    assert os.access(board.home / "current/edgecnn", os.X_OK)
    token = board.tokens / f"{UNIT}.token"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (token, token.parent)] == [0o600, 0o700]
    before = token.read_text()
    assert len(before.strip()) >= 32
    assert deploy(board, first) == 0
    assert token.read_text() == before


def test_the_launcher_starts_the_edgecnn_beside_it(board: Served, first: Path) -> None:
    assert deploy(board, first) == 0
    text = (board.home / "current/edgecnn").read_text()
    env = (board.home / "current/env").read_text()
    assert f"exec {board.home}/{env}/venv/bin/python -P -m edgecnn" in text


def test_the_version_before_is_kept_and_gone_back_to(
    board: Served, first: Path, second: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    third = tiny_artifacts.bundle(tmp_path / "third", seed=9)
    for bundle in (first, second, third):
        assert deploy(board, bundle) == 0
        assert board.running() == manifest(bundle)
    assert "--rollback ssh://" in (out := capfd.readouterr().out) and "--service\n" in out
    assert len(list((board.home / "versions").iterdir())) == 2
    for bundle in (second, third):
        assert rollback(board) == 0
        assert board.running() == board.at_boot() == manifest(bundle)
    assert not board.there.folder.exists()


def test_an_environment_that_the_service_has_is_not_made_again(
    board: Served, first: Path, second: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert deploy(board, first) == 0
    assert "installing edgecnn there" in capfd.readouterr().err
    assert deploy(board, second) == 0
    assert "installing edgecnn there" not in capfd.readouterr().err


def test_the_users_own_version_of_the_same_name_is_left_alone(board: Served, first: Path, second: Path) -> None:
    assert main(["deploy", str(first), board.target]) == 0
    assert deploy(board, second) == 0
    assert (board.there.running(), board.running()) == (manifest(first), manifest(second))


def test_a_version_that_does_not_get_ready_gives_way_to_the_one_before(
    board: Served, first: Path, second: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tiny_artifacts.bundle(tmp_path / "bad", seed=9)
    assert deploy(board, first) == 0
    assert deploy(board, second) == 0
    kept = board.kept()
    board.tell(bad=(bad,))
    capfd.readouterr()
    line = refused([str(bad), board.target, "--service"], capfd, 1)
    assert f"{UNIT}: edgecnn: error: port 8765 is taken; what was served before is served now" in line
    assert board.running() == board.at_boot() == manifest(second)
    assert board.kept() == kept
    assert rollback(board) == 0
    assert board.running() == manifest(first)


def test_a_first_version_that_does_not_get_ready_leaves_no_unit(
    board: Served, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    board.tell(bad=(first,))
    assert "nothing is served now" in refused([str(first), board.target, "--service"], capfd, 1)
    assert list(board.units.iterdir()) == []
    assert board.kept() == ["versions"]
    assert board.running() is None


def test_a_step_as_root_that_is_killed_is_put_back(
    board: Served, first: Path, second: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert deploy(board, first) == 0
    board.tell(kill_at=4)
    assert deploy(board, second) == 1
    assert "the step as root was ended from outside" in capfd.readouterr().err
    assert board.running() == board.at_boot() == manifest(first)
    assert "trial" not in board.kept()


def test_an_end_here_after_any_step_leaves_a_whole_version_served(
    board: Served, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deploy(board, first) == 0
    original: Callable[..., dict[str, Any]] = Board._once
    steps: list[str] = []
    seen: set[str] = set()
    last, roots = 0, 0

    def once_more(self: Board, do: str, request: dict[str, Any], *rest: Any, **more: Any) -> dict[str, Any]:
        answer = original(self, do, request, *rest, **more)
        steps.append(f"{do} {request.get('task', '')}".strip())
        if len(steps) == last:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Board, "_once", once_more)
    while "follow service" not in seen:
        last += 1
        steps.clear()
        assert deploy(board, second) == 130
        seen |= set(steps[:last])
        board.settle()
        as_root = "start service" in steps[:last]
        roots += as_root
        assert board.running() == board.at_boot(), f"ended after {steps}"
        assert board.running() == manifest(first) or as_root, f"ended after {steps}"
        assert "trial" not in board.kept()
    assert {"rights", "claim", "missing", "put", "start self-test", "follow self-test", "get"} <= seen
    assert roots == 2
    assert board.running() == manifest(second)


def test_where_sudo_wants_a_password_nothing_is_begun(
    board: Served, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    board.sudo_asks()
    line = refused([str(first), board.target, "--service"], capfd)
    assert "sudo there wants a password (sudo: a password is required)" in line
    assert "NOPASSWD" in line
    assert not board.there.folder.exists()


def test_where_systemd_does_not_run_there_is_no_service(
    board: Served, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    board.no_systemd()
    assert "--service needs systemd" in refused([str(first), board.target, "--service"], capfd)


@pytest.mark.parametrize("deployed", [False, True])
def test_there_is_no_way_back_from_the_first(
    board: Served, first: Path, deployed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    if deployed:
        assert deploy(board, first) == 0
        capfd.readouterr()
    line = refused(["--rollback", board.target, "--service"], capfd)
    assert "only version" in line if deployed else "nothing was deployed" in line


def test_going_back_without_the_word_service_says_that_there_is_one(
    board: Served, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert deploy(board, first) == 0
    capfd.readouterr()
    assert "which --service goes back from" in refused(["--rollback", board.target], capfd)


def test_no_command_line_holds_the_token(board: Served, first: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert deploy(board, first) == 0
    token = (board.tokens / f"{UNIT}.token").read_text().strip()
    out, err = capfd.readouterr()
    assert token not in out + err + "".join(board.asked())
