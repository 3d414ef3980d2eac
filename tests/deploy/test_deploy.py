"""A bundle that is put on a board behind a real SSH server on loopback, and stays there."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from edgecnn import __version__
from edgecnn.cli.main import main
from edgecnn.deploy.ssh import onboard
from edgecnn.deploy.ssh.address import Address
from edgecnn.deploy.ssh.board import Board
from edgecnn.deploy.ssh.connection import LinkError
from edgecnn.errors import CheckFailedError
from edgecnn.measure.accuracy import score
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.signature import require_signature, signer
from tests import tiny_artifacts
from tests.conftest import Once
from tests.deploy.homes import Home, deployed_to, manifest, refused


@pytest.fixture
def home(tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with deployed_to(tmp_path / "server", once, monkeypatch) as board:
        yield board


def test_a_bundle_runs_there_and_the_launcher_starts_its_edgecnn(
    home: Home, first: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", str(first), home.target, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert home.running() == manifest(first)
    assert (told["previous"], told["name"]) == (None, "classifier")
    with (opened := open_bundle(first)).open(opened.artifact()) as runner:
        assert told["correct"] == score(runner, [opened.sample()]).right
    said = subprocess.run([told["launcher"], "--version"], capture_output=True, text=True, check=True)
    assert __version__ in said.stdout
    assert Path(told["bundle"], "manifest.json").is_file()
    assert home.server.processes() == []


def test_the_version_before_is_kept_and_gone_back_to(
    home: Home, first: Path, second: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    third = tiny_artifacts.bundle(tmp_path / "third", seed=9)
    for bundle in (first, second, third):
        assert main(["deploy", str(bundle), home.target]) == 0
    assert home.running() == manifest(third)
    assert (home.versions(), home.environments()) == (2, 1)
    assert "is kept: edgecnn deploy --rollback ssh://" in capfd.readouterr().out
    assert main(["deploy", "--rollback", home.target]) == 0
    assert home.running() == manifest(second)
    assert main(["deploy", "--rollback", home.target]) == 0
    assert home.running() == manifest(third)


def test_the_same_bundle_again_is_tested_again_and_keeps_the_version_before(
    home: Home, first: Path, second: Path
) -> None:
    for bundle in (first, second, second):
        assert main(["deploy", str(bundle), home.target]) == 0
    assert main(["deploy", "--rollback", home.target]) == 0
    assert home.running() == manifest(first)


def test_names_do_not_disturb_each_other(home: Home, first: Path, second: Path) -> None:
    assert main(["deploy", str(first), home.target, "--name", "door"]) == 0
    assert main(["deploy", str(second), home.target, "--name", "gate"]) == 0
    assert (home.running("door"), home.running("gate")) == (manifest(first), manifest(second))


WRONG_ANSWER = """case "$*" in *self_test*) for last; do :; done
sed -i 's/"largest_difference": [0-9.]*/"largest_difference": 1.0/' "$last/report.json";; esac"""


def test_a_board_that_answers_otherwise_keeps_what_it_ran(
    home: Home, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["deploy", str(first), home.target]) == 0
    (next(home.folder.glob("env-*")) / "install.exit").unlink()  # so that the environment is made again
    home.after_each(WRONG_ANSWER)
    capfd.readouterr()
    line = refused([str(second), home.target], capfd, 1)
    assert "outputs differ by up to 1 (allowed: 0); what ran there before goes on" in line
    assert home.running() == manifest(first)
    assert home.versions() == 1


def test_a_bundle_that_is_damaged_here_is_not_sent(home: Home, first: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (first / tiny_artifacts.INT8_FILE).write_bytes(b"other")
    assert "copy the bundle again" in refused([str(first), home.target], capfd)
    assert not home.folder.exists()


@pytest.mark.parametrize("tidied", [True, False], ids=["interrupted", "killed"])
def test_an_end_after_any_step_leaves_what_ran_running(
    home: Home, first: Path, second: Path, tidied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["deploy", str(first), home.target]) == 0
    original: Callable[..., dict[str, Any]] = Board._once
    steps: list[str] = []
    seen: set[str] = set()
    last = 0

    def once_more(self: Board, do: str, *rest: Any, **more: Any) -> dict[str, Any]:
        answer = original(self, do, *rest, **more)
        steps.append(do)
        if len(steps) == last and do != "switch":
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(Board, "_once", once_more)
    if not tidied:
        monkeypatch.setattr(Board, "tidy", lambda *_words: None)
    while True:
        last += 1
        steps.clear()
        code = main(["deploy", str(second), home.target])
        seen |= set(steps)
        if "switch" in steps[:last]:
            break
        assert code == 130
        assert home.running() == manifest(first), f"ended after {steps}"
        assert home.versions() == 1 or not tidied
    assert {"claim", "missing", "put", "start", "follow", "get", "switch"} <= seen
    assert home.running() == manifest(second)


def test_a_connection_that_breaks_is_made_again(
    home: Home, first: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    original: Callable[..., dict[str, Any]] = Board._once
    broken: list[str] = []

    def break_once_each(self: Board, do: str, *rest: Any, **more: Any) -> dict[str, Any]:
        answer = original(self, do, *rest, **more)
        if do not in broken:
            broken.append(do)
            home.server.cut()
            raise LinkError("cut")
        return answer

    monkeypatch.setattr(Board, "_once", break_once_each)
    assert main(["deploy", str(first), home.target]) == 0
    assert "switch" in broken
    assert "connected again" in capfd.readouterr().err
    assert home.running() == manifest(first)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{target}"], "got 1 words (valid: edgecnn deploy BUNDLE ssh://[USER@]HOST)"),
        (["{bundle}", "--rollback", "{target}"], "valid: edgecnn deploy --rollback ssh://[USER@]HOST"),
        (["{bundle}", "pi@board"], "did you mean ssh://pi@board?"),
        (["{bundle}", "{target}", "--name", "../door"], "--name '../door' cannot be used"),
        (["{bundle}", "{target}", "--name", "env-1"], "--name 'env-1' cannot be used"),
        (["--rollback", "{target}", "--offline"], "--rollback installs nothing"),
        (["--rollback", "{target}"], "there is no version of 'classifier' to go back to (nothing was deployed)"),
    ],
)
def test_what_cannot_be_asked_for(
    home: Home, first: Path, words: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused([word.format(bundle=first, target=home.target) for word in words], capfd)
    assert reason in line


def test_there_is_no_way_back_from_the_first(home: Home, first: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", str(first), home.target]) == 0
    capfd.readouterr()
    assert "to go back to (only version " in refused(["--rollback", home.target], capfd)
    assert home.running() == manifest(first)


def test_a_signature_goes_along_and_can_be_required(
    home: Home, first: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    private, public = key_pair(tmp_path)
    assert "manifest.sig" in refused([str(first), home.target, "--require-signature", str(public)], capfd)
    assert not home.folder.exists()
    assert main(["deploy", str(first), home.target]) == 0
    signer(private)(first)
    capfd.readouterr()
    assert main(["deploy", str(first), home.target, "--require-signature", str(public), "--json"]) == 0
    there = Path(json.loads(capfd.readouterr().out)["bundle"])
    require_signature(there, public)
    assert "--rollback takes none" in refused(["--rollback", home.target, "--require-signature", str(public)], capfd)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"said": "x"}, "it answered nonsense: offset is None"),
        ({"said": "x", "offset": "7"}, "it answered nonsense: offset is 7"),
    ],
)
def test_a_board_that_answers_nonsense_is_one_line(answer: dict[str, str], reason: str) -> None:
    board = answering(answer)
    with pytest.raises(CheckFailedError, match=reason):
        board.follow(print, folder="f", task="t", job="j", token="t")


def test_nothing_that_a_board_says_reaches_a_terminal_as_a_command() -> None:
    board = answering({"root": "/home/pi\x1b]0;owned\x07", "current": "\x1b[2J", "previous": None})
    assert board.ask("state", job="j") == {"root": "/home/pi?]0;owned?", "current": "?[2J", "previous": None}


def answering(answer: dict[str, Any]) -> Board:
    """A board that gives the same answer to everything."""
    board = Board(Address.parse("ssh://pi@board"), threading.Event(), print, "share")

    def run(_command: str, take: Callable[[bytes], None], _send: Path | None) -> None:
        take(onboard.MARK + json.dumps(answer).encode() + b"\n")

    board._connection = SimpleNamespace(run=run)  # type: ignore[assignment]
    return board


def key_pair(folder: Path) -> tuple[Path, Path]:
    """Files of an Ed25519 key, private and public."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / "key.pem", folder / "key.pub"
    form, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(form, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public
