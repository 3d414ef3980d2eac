"""A bundle that is served from a board as long as it is on: real SSH, with sudo and systemctl played by programs."""

from __future__ import annotations

import json
import os
import stat
import sys
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
from tests.deploy.ssh_server import python_folder

UNIT = "edgecnn-classifier"
SUDO = """#!/bin/sh
if [ -e {programs}/sudo_asks ]; then echo "sudo: a password is required" >&2; exit 1; fi
[ "$1" = -n ] && shift
exec "$@"
"""
# Keeps what systemd would know: which version runs, and with which unit. Fails, or kills who asked, as it is told.
SYSTEMCTL = """#!{python}
import json, os, pathlib, signal, sys
here = pathlib.Path(__file__).parent
unit = pathlib.Path({units!r}, {unit!r} + ".service")
home = pathlib.Path({opt!r}, {unit!r})
words = sys.argv[1:]
with (here / "asked").open("a") as asked:
    print(*words, file=asked)
if words[0] == "is-system-running":
    print((here / "system").read_text())
    sys.exit()
count = len([line for line in (here / "asked").read_text().splitlines() if not line.startswith("is-system")])
told = json.loads((here / "told").read_text())
if words[0] == "restart" and count != told["kill_at"]:
    running = here / "running"
    running.unlink(missing_ok=True)
    bundle = home / "current/bundle/manifest.json"
    if count != told["fail_at"] and bundle.read_text() not in told["bad"]:
        running.write_text(json.dumps([bundle.read_text(), unit.read_text()]))
    else:
        (here / "journal").write_text("Started.\\nedgecnn: error: port 8765 is taken\\nFailed.\\n")
        sys.exit("Job for the service failed.")
if words[:2] == ["disable", "--now"]:
    (here / "running").unlink(missing_ok=True)
if count == told["kill_at"]:
    os.kill(os.getppid(), signal.SIGKILL)
if count == told["fail_at"]:
    sys.exit("Failed to reach the manager.")
"""
JOURNALCTL = "#!/bin/sh\ncat {programs}/journal 2>/dev/null\n"


class Served:
    """A board with a service manager of paper; ``opt``, ``units`` and ``tokens`` are where root's files are."""

    def __init__(self, home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.target = home, home.target
        self.opt, self.units, self.tokens = folder / "opt", folder / "units", folder / "tokens"
        self._programs = home.server.programs
        for name in ("opt", "units", "tokens"):
            monkeypatch.setattr(service, name.upper(), str(getattr(self, name)))
        self.units.mkdir(parents=True)
        words = {"programs": str(self._programs), "python": Path(python_folder(), Path(sys.executable).resolve().name)}
        words |= {"opt": str(self.opt), "units": str(self.units), "unit": UNIT}
        self.program("sudo", SUDO.format(**words))
        self.program("systemctl", SYSTEMCTL.format(**words))
        self.program("journalctl", JOURNALCTL.format(**words))
        (self._programs / "system").write_text("degraded")
        self.tell()

    def program(self, name: str, text: str) -> None:
        """Put a program into the first folder of the board's PATH."""
        (self._programs / name).write_text(text)
        (self._programs / name).chmod(0o755)

    def tell(self, fail_at: int = 0, kill_at: int = 0, bad: tuple[Path, ...] = ()) -> None:
        """Let systemctl fail, or kill who asks, at its so-manieth call from now; a service of a bad bundle fails."""
        (self._programs / "asked").unlink(missing_ok=True)
        texts = [(bundle / "manifest.json").read_text() for bundle in bad]
        (self._programs / "told").write_text(json.dumps({"fail_at": fail_at, "kill_at": kill_at, "bad": texts}))

    def sudo_asks(self) -> None:
        """Let sudo want a password."""
        (self._programs / "sudo_asks").touch()

    def no_systemd(self) -> None:
        """Let the system be one that another init started."""
        (self._programs / "system").write_text("offline\n")

    def asked(self) -> list[str]:
        """What systemctl was asked since ``tell``, but for whether it is there."""
        path = self._programs / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.startswith("is-system")]

    def running(self) -> dict[str, Any] | None:
        """The manifest of what runs, None where nothing does; it runs with the unit of its version."""
        path = self._programs / "running"
        if not path.exists():
            return None
        text, unit = json.loads(path.read_text())
        assert unit == service.UNIT.read_text()
        found: dict[str, Any] = json.loads(text)
        return found

    def at_boot(self) -> dict[str, Any] | None:
        """The manifest of what the files would have systemd start; whole, or there is nothing to start."""
        if not (self.units / f"{UNIT}.service").exists():
            return None
        current = self.opt / UNIT / "current"
        if not current.exists():
            return None
        assert (self.opt / UNIT / (current / "env").read_text() / "install.exit").read_text() == "0"
        assert {path.name for path in current.iterdir()} == {"bundle", "edgecnn", "env", "unit"}
        return manifest(current / "bundle")

    def kept(self) -> list[str]:
        """What lies in the service's folder, but for what is in a version or an environment."""
        home = self.opt / UNIT
        return sorted(path.name for path in [*home.iterdir(), *home.glob("versions/*")])

    def settle(self) -> None:
        """Wait until what was begun there has ended."""
        end = time.monotonic() + 30
        while self.home.server.processes():
            assert time.monotonic() < end, "it does not end"


@pytest.fixture
def board(tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with deployed_to(tmp_path / "server", once, monkeypatch) as home:
        yield Served(home, tmp_path / "root", monkeypatch)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "second", seed=5)


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
    assert (told["service"], told["folder"]) == (UNIT, str(board.opt / UNIT))
    assert manifest(Path(told["bundle"])) == manifest(first)
    assert board.asked() == [
        "daemon-reload", f"enable {UNIT}.service", f"reset-failed {UNIT}.service", f"restart {UNIT}.service",
    ]  # fmt: skip
    assert not board.home.folder.exists()
    assert board.home.server.processes() == []


def test_what_is_served_is_readable_by_anyone_and_the_token_by_root_alone(board: Served, first: Path) -> None:
    assert deploy(board, first) == 0
    for path in (board.opt / UNIT).rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in (0o755, 0o644), path
    assert os.access(board.opt / UNIT / "current/edgecnn", os.X_OK)
    token = board.tokens / f"{UNIT}.token"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (token, token.parent)] == [0o600, 0o700]
    before = token.read_text()
    assert len(before.strip()) >= 32
    assert deploy(board, first) == 0
    assert token.read_text() == before


def test_the_launcher_starts_the_edgecnn_beside_it(board: Served, first: Path) -> None:
    assert deploy(board, first) == 0
    text = (board.opt / UNIT / "current/edgecnn").read_text()
    env = (board.opt / UNIT / "current/env").read_text()
    assert f"exec {board.opt / UNIT}/{env}/venv/bin/python -P -m edgecnn" in text


def test_the_version_before_is_kept_and_gone_back_to(
    board: Served, first: Path, second: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    third = tiny_artifacts.bundle(tmp_path / "third", seed=9)
    for bundle in (first, second, third):
        assert deploy(board, bundle) == 0
        assert board.running() == manifest(bundle)
    assert "--rollback ssh://" in (out := capfd.readouterr().out) and "--service\n" in out
    assert len(list((board.opt / UNIT / "versions").iterdir())) == 2
    for bundle in (second, third):
        assert rollback(board) == 0
        assert board.running() == board.at_boot() == manifest(bundle)
    assert not board.home.folder.exists()


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
    assert (board.home.running(), board.running()) == (manifest(first), manifest(second))


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


def test_a_version_before_that_does_not_get_ready_leaves_what_was_served(
    board: Served, first: Path, second: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for bundle in (first, second):
        assert deploy(board, bundle) == 0
    board.tell(bad=(first,))
    capfd.readouterr()
    assert "is served now" in refused(["--rollback", board.target, "--service"], capfd, 1)
    assert board.running() == board.at_boot() == manifest(second)


CALLS = 4  # of systemctl, to serve a version


@pytest.mark.parametrize("step", range(1, CALLS + 1))
def test_a_step_of_systemd_that_fails_leaves_what_was_served(
    board: Served, first: Path, second: Path, step: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert deploy(board, first) == 0
    board.tell(fail_at=step)
    code = deploy(board, second)
    if board.asked()[step - 1].startswith("reset-failed"):  # of no consequence
        assert code == 0
        assert board.running() == manifest(second)
        return
    assert code == 1
    assert "what was served before is served now" in capfd.readouterr().err
    assert board.running() == board.at_boot() == manifest(first)


@pytest.mark.parametrize("step", range(1, CALLS + 1))
def test_a_step_as_root_that_is_killed_is_put_back(
    board: Served, first: Path, second: Path, step: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert deploy(board, first) == 0
    board.tell(kill_at=step)
    assert deploy(board, second) == 1
    assert "the step as root was ended from outside" in capfd.readouterr().err
    assert board.running() == board.at_boot() == manifest(first)
    assert "trial" not in board.kept()


@pytest.mark.parametrize("step", range(1, CALLS + 1))
def test_a_board_that_is_killed_with_its_root_step_starts_a_whole_version_and_the_next_deploy_goes_on(
    board: Served, first: Path, second: Path, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deploy(board, first) == 0
    board.tell(kill_at=step)
    monkeypatch.setattr(service, "FINISHED", (0, 1, None, -9))  # so that nobody puts it back
    assert deploy(board, second) == 1
    assert board.running() == manifest(first), "systemd never heard of another"
    assert board.at_boot() in (manifest(first), manifest(second))
    bad = tiny_artifacts.bundle(tmp_path / "bad", seed=9)
    board.tell(bad=(bad,))
    assert deploy(board, bad) == 1
    assert board.running() == board.at_boot() == manifest(first), "what was on trial is not what ran before"


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
    assert not board.home.folder.exists()


def test_where_systemd_does_not_run_there_is_no_service(
    board: Served, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    board.no_systemd()
    assert "--service needs systemd" in refused([str(first), board.target, "--service"], capfd)


def test_a_unit_of_somebody_else_is_not_written_over(
    board: Served, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (board.units / f"{UNIT}.service").write_text("mine")
    assert "is not as edgecnn wrote it" in refused([str(first), board.target, "--service"], capfd, 1)
    assert (board.units / f"{UNIT}.service").read_text() == "mine"
    assert board.asked() == []


def test_a_unit_that_was_changed_by_hand_is_not_written_over(
    board: Served, first: Path, second: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert deploy(board, first) == 0
    path = board.units / f"{UNIT}.service"
    path.write_text(path.read_text() + "# mine\n")
    capfd.readouterr()
    assert f"sudo systemctl edit {UNIT}" in refused([str(second), board.target, "--service"], capfd, 1)
    assert path.read_text().endswith("# mine\n")
    assert board.at_boot() == manifest(first)


def test_a_version_that_was_damaged_there_is_copied_again(board: Served, first: Path) -> None:
    assert deploy(board, first) == 0
    (board.opt / UNIT / "current/bundle/labels.txt").write_text("other")
    assert deploy(board, first) == 0
    assert (board.opt / UNIT / "current/bundle/labels.txt").read_bytes() == (first / "labels.txt").read_bytes()
    assert board.running() == manifest(first)
    assert [name for name in board.kept() if name.startswith(".")] == []


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
