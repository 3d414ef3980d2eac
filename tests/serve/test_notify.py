"""What goes over $NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from edgecnn.serve import notify


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The socket of a service manager, that this process is told of."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(10)
        monkeypatch.setenv(notify.SOCKET, str(tmp_path / "notify"))
        yield line


def test_lines_come_in_one_datagram(manager: socket.socket) -> None:
    notify.notify("READY=1", "STATUS=serves ants")
    assert manager.recv(4096) == b"READY=1\nSTATUS=serves ants"


def test_an_abstract_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0edgecnn-{os.getpid()}")
        line.settimeout(10)
        monkeypatch.setenv(notify.SOCKET, f"@edgecnn-{os.getpid()}")
        notify.notify("STOPPING=1")
        assert line.recv(4096) == b"STOPPING=1"


def test_a_reload_has_the_time_of_the_clock_that_systemd_reads(manager: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.reloading()
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.parametrize("value", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(notify.SOCKET, value)
    notify.notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [("30000000", None, 15.0), ("30000000", "self", 15.0), ("30000000", "1", None), ("0", None, None),
     ("x", None, None), (None, None, None)],
)  # fmt: skip
def test_the_watchdog_is_fed_at_half_of_its_time(monkeypatch, usec, pid, expected) -> None:
    for name, value in ((notify.WATCHDOG, usec), (notify.WATCHDOG_PID, str(os.getpid()) if pid == "self" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_interval() == expected


def test_children_are_told_nothing_of_the_manager(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notify.WATCHDOG, "1")
    kept = notify.environment_of_children()
    assert notify.SOCKET not in kept and notify.WATCHDOG not in kept and kept["PATH"] == os.environ["PATH"]
