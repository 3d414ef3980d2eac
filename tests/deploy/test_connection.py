"""Addresses of boards, and what ssh's complaints become; the connection itself is in test_ssh."""

from __future__ import annotations

import threading

import pytest

from edgecnn.deploy.ssh.address import Address, last_line
from edgecnn.deploy.ssh.connection import Connection, refusal
from edgecnn.errors import UsageError

PI = Address("pi.local", "pi")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh://pi", ["--", "pi"]),
        ("ssh://pi@raspberry-pi.local", ["-l", "pi", "--", "raspberry-pi.local"]),
        ("ssh://pi@10.0.0.7:2222", ["-l", "pi", "-p", "2222", "--", "10.0.0.7"]),
        ("ssh://pi@[fe80::1%eth0]:22", ["-l", "pi", "-p", "22", "--", "fe80::1%eth0"]),
    ],
)
def test_an_address_becomes_words_of_ssh_and_its_text_again(text: str, words: list[str]) -> None:
    address = Address.parse(text)
    assert address.words == words
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "ssh://", "ssh://-oProxyCommand=reboot", "ssh://-l@host", "ssh://pi@-oProxyCommand=reboot", "ssh://pi@host:0",
        "ssh://pi@host:65536", "ssh://pi@host:22:22", "ssh://pi@host/home", "ssh://pi@host;reboot", "ssh://pi@ho st",
        "ssh://pi@host\n", "ssh://pi@$(reboot)", "ssh://a@b@c", "ssh://[::1", "ssh://\x1b[2J",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address") as caught:
        Address.parse(text)
    assert "\x1b" not in str(caught.value)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="use a key: ssh-copy-id") as caught:
        Address.parse("ssh://pi:raspberry@host")
    assert "raspberry" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "reason", "code"),
    [
        ("ssh: Could not resolve hostname pi.local: Name or service not known", "unknown host", 2),
        ("ssh: connect to host pi.local port 22: Connection timed out", "is the board on, and in this network", 1),
        ("ssh: connect to host pi.local port 22: No route to host", "is the board on, and in this network", 1),
        ("ssh: connect to host pi.local port 22: Connection refused", "is the board's SSH server on", 1),
        ("Received disconnect: Too many authentication failures", "takes none of your keys", 2),
        ("/home/me/.ssh/config: line 3: Bad configuration option: x", "configuration cannot be used", 2),
        ("kex_exchange_identification: \x1b[2Jread: Connection reset by peer", "read: Connection reset by peer", 1),
        ("", "nothing was said", 1),
    ],
)
def test_what_ssh_complains_of_becomes_one_line_and_an_exit_code(said: str, reason: str, code: int) -> None:
    error = refusal(PI, f"{said}\r\n")
    assert reason in str(error)
    assert error.exit_code == code
    assert "\n" not in str(error) and "\x1b" not in str(error)


def test_no_ssh_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="apt install openssh-client"):
        Connection(PI, threading.Event())


def test_a_last_line_is_short_and_says_something() -> None:
    assert last_line("first\n" + "x" * 1000 + "\n \n") == "x" * 300
