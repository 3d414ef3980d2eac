"""A server's life: its end, new bundles good and bad, and what a service manager hears."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from edgecnn.runtime.signature import signer
from edgecnn.serve import notify
from edgecnn.serve.app import QUEUE
from tests import tiny_artifacts
from tests.serve.load import large
from tests.serve.serving import GUARD, ROOT, Served, serving
from tests.tiny_artifacts import INT8_FILE


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """A link to the bundle ``old``, beside which lies ``new``, as on a board."""
    tiny_artifacts.bundle(tmp_path / "old")
    tiny_artifacts.bundle(tmp_path / "new", seed=7)
    (tmp_path / "current").symlink_to("old")
    return tmp_path / "current"


def lead(link: Path, name: str) -> None:
    """Let the link lead to another bundle, in one step."""
    link.with_name("next").symlink_to(name)
    link.with_name("next").rename(link)


def digest(served: Served) -> str:
    found: str = served.json("GET", "/v1/model")[1]["sha256"]
    return found


def listening(served: Served) -> bool:
    """Whether the server takes new connections."""
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", served.port)) == 0


class Manager:
    """A service manager: what it was told, as it comes."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def hear(self, wanted: Callable[[str], bool]) -> str:
        """The first datagram from now on that is wanted."""
        while not wanted(found := self._line.recv(4096).decode()):
            pass
        return found

    def waiting(self) -> bool:
        """Whether there is something that was not heard yet."""
        return bool(select.select([self._line], [], [], 0)[0])


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(GUARD)
        yield Manager(line)


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_finished(current: Path, number: int) -> None:
    answers: list[int] = []
    picture = large(2000)  # all of them take longer than uvicorn's pauses

    def send() -> None:
        answers.append(served.classify(picture)[0])

    with serving(current) as served:
        with served.stopped_worker() as worker:
            clients = [threading.Thread(target=send) for _ in range(QUEUE)]
            for each in clients:
                each.start()
            served.until(lambda health: health["queue"] == QUEUE)
            served.process.send_signal(number)
            while listening(served):
                pass
        assert served.ended() == 0
        for each in clients:
            each.join()
        assert answers == [200] * QUEUE
        assert not Path(f"/proc/{worker}").exists()


def test_the_worker_leaves_the_signals_to_the_server(current: Path) -> None:
    """A terminal and a service manager send them to all processes."""
    with serving(current) as served:
        worker = served.worker
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)
        assert served.classify()[0] == 200
        assert served.worker == worker


def test_a_picture_can_take_no_more_memory_than_the_file_was_proven_with_and_its_own(current: Path) -> None:
    with serving(current) as served:
        assert served.classify()[0] == 200
        limits = Path(f"/proc/{served.worker}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max data size")]
    assert line.split()[3:5] == [str((512 + 256) << 20)] * 2


def test_a_worker_does_not_outlive_a_server_that_was_killed(current: Path) -> None:
    with serving(current) as served:
        worker = os.pidfd_open(served.worker)
        assert served.end(signal.SIGKILL) == -signal.SIGKILL
        ended = select.select([worker], [], [], GUARD)[0]
        os.close(worker)
        assert ended


def test_a_terminal_that_is_closed_ends_the_server(current: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "edgecnn", "serve", str(current), "--port", "0"]
    server = subprocess.Popen(command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        said = b""
        while b" serves " not in said:
            said += os.read(master, 4096)
        os.close(master)
        server.send_signal(signal.SIGHUP)
        assert server.wait(GUARD) == 0
    finally:
        server.kill()
        server.wait()


# New bundles


def test_sighup_reads_the_bundle_again(tmp_path: Path) -> None:
    bundle = tiny_artifacts.bundle(tmp_path / "b")
    with serving(bundle) as served:
        before, worker = digest(served), served.worker
        bundle.rename(tmp_path / "away")
        tiny_artifacts.bundle(tmp_path / "b", seed=7)
        served.process.send_signal(signal.SIGHUP)
        served.line("now serves tiny static_w8a8")
        assert digest(served) != before
        assert served.worker != worker
        assert b'edgecnn_reloads_total{result="ok"} 1' in served.ask("GET", "/metrics")[2]


def test_a_link_that_leads_elsewhere_is_followed_and_nobody_is_refused(current: Path) -> None:
    """Pictures are sent all the while: each is answered, first by the old bundle, then by the new, never back."""
    with serving(current) as served:
        before = digest(served)
        lead(current, "new")
        seen = [before]
        for _ in range(10_000):
            status, answer = served.classify()
            assert status == 200
            seen.append(answer["sha256"])
            if seen[-1] != before:
                break
        assert seen[-1] != before
        assert {served.classify()[1]["sha256"] for _ in range(5)} == {seen[-1]} == {digest(served)}
        assert str(current.with_name("new")) in served.line("now serves")


@pytest.mark.parametrize("fault", ["missing", "damaged", "no bundle"])
def test_a_bad_bundle_leaves_the_old_one_serving(current: Path, fault: str) -> None:
    if fault == "damaged":
        (current.with_name("new") / INT8_FILE).write_bytes(b"x")
    elif fault == "no bundle":
        (current.with_name("new") / "manifest.json").write_text("{}")
    with serving(current) as served:
        before, worker = digest(served), served.worker
        lead(current, "nowhere" if fault == "missing" else "new")
        line = served.line("not loaded, the old bundle serves on: ")
        health = served.until(lambda health: health["reload_error"])
        assert line.endswith(health["reload_error"])
        assert health["status"] == "ok"
        assert (digest(served), served.worker) == (before, worker)
        assert served.classify()[0] == 200
        metrics = served.ask("GET", "/metrics")[2]
        assert b'edgecnn_reloads_total{result="failed"} 1' in metrics and b"edgecnn_last_reload_ok 0" in metrics
        lead(current, "old")  # and back to what is there
        served.until(lambda health: health["reload_error"] is None)


def test_a_new_bundle_must_be_signed_too(current: Path, tmp_path: Path) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(private.private_bytes(serialization.Encoding.PEM, kind, plain))
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pub").write_bytes(public)
    signer(tmp_path / "key.pem")(current.resolve())
    with serving(current, "--require-signature", tmp_path / "key.pub") as served:
        assert served.classify()[0] == 200
        lead(current, "new")
        served.line("not loaded, the old bundle serves on: ")
        assert served.classify()[0] == 200


# The service manager


def test_a_service_manager_is_told_of_start_reload_and_end(current: Path, manager: Manager, tmp_path: Path) -> None:
    with serving(current, env={notify.SOCKET: str(tmp_path / "notify")}) as served:
        assert manager.hear(bool).startswith("READY=1\nSTATUS=serves tiny static_w8a8 from ")
        served.process.send_signal(signal.SIGHUP)
        assert manager.hear(bool).startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.hear(bool).startswith("READY=1\n")
        assert served.end() == 0
        assert manager.hear(bool) == "STOPPING=1"


def test_the_watchdog_is_fed_only_while_the_worker_lives(current: Path, manager: Manager, tmp_path: Path) -> None:
    """A worker that hangs is ended; if no other can be started, the service manager hears no more."""
    env = {notify.SOCKET: str(tmp_path / "notify"), notify.WATCHDOG: "100000"}
    settings = {"worker.PING_SECONDS": 0.2, "keeper.SHORT_LIFE": 0.0, "keeper.POLL_SECONDS": 1000.0}
    with serving(current, env=env, settings=settings) as served:
        manager.hear(lambda said: said == "WATCHDOG=1")
        manager.hear(lambda said: said == "WATCHDOG=1")
        current.resolve().rename(current.with_name("away"))
        with served.stopped_worker():
            served.line("was ended by SIGKILL; it is started again")
            served.line("not started, tried again in ")
            while manager.waiting():
                manager.hear(bool)
            served.line("not started, tried again in 2 s")
            assert not manager.waiting()
            assert served.json("GET", "/healthz")[0] == 503
        current.with_name("away").rename(current.with_name("old"))
        manager.hear(lambda said: said == "WATCHDOG=1")
        assert served.json("GET", "/healthz")[0] == 200
