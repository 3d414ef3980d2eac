"""The system's ssh client as a subprocess: one connection per board that all commands share.

Host keys are always checked and nothing is ever asked: a connection that needs an answer from a person is refused.
The settings of the user's ssh_config hold (aliases, keys, jump hosts); EDGECNN_SSH_CONFIG names another file.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from edgecnn.deploy.ssh.address import Address, last_line
from edgecnn.errors import CheckFailedError, EdgeCNNError, UsageError
from edgecnn.runtime.terminal import printable_lines

CONFIG_VARIABLE = "EDGECNN_SSH_CONFIG"
OPTIONS = {
    "BatchMode": "yes", "StrictHostKeyChecking": "yes", "UpdateHostKeys": "no", "LogLevel": "ERROR",
    "ConnectTimeout": "10", "ServerAliveInterval": "5", "ServerAliveCountMax": "3", "ControlPersist": "no",
    "ClearAllForwardings": "yes", "ForwardAgent": "no", "ForwardX11": "no", "PermitLocalCommand": "no",
    "RemoteCommand": "none", "RequestTTY": "no",
}  # fmt: skip
OPENING = 60.0  # seconds until a login must be through
LOOK = 0.1  # seconds between two looks at whether to stop
LINK_LOST = 255  # ssh's own exit code for whatever goes wrong outside the command
READY = b"edgecnn ready\n"
HOLD = "echo edgecnn ready; read end"  # until the input ends
SOCKET_PATH = 60  # characters; a longer one may not fit into a socket's address once ssh has added to it


class LinkError(EdgeCNNError):
    """The network or the board does not answer; it may again."""


class Stopped(Exception):
    """The user wants an end."""


class Connection:
    """A connection that stays open until ``close``. ``stop`` makes whatever it does raise Stopped.

    The first process logs in and holds the line; each command goes through its socket, without a login of its own. All
    are in sessions of their own, so that a Ctrl-C leaves them alive to clean up with; when this process is killed the
    line ends with it.
    """

    def __init__(self, address: Address, stop: threading.Event) -> None:
        self.address, self.stop = address, stop
        program = shutil.which("ssh")
        if program is None:
            raise UsageError("the ssh client is not installed; on Debian: apt install openssh-client")
        config = os.environ.get(CONFIG_VARIABLE)
        settings = [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
        self._ssh = [program, *(["-F", config] if config else []), *settings]
        self._line: subprocess.Popen[bytes] | None = None
        self._opened = 0
        place = None if len(tempfile.gettempdir()) < SOCKET_PATH else "/tmp"
        self._folder = tempfile.TemporaryDirectory(prefix="edgecnn-ssh-", dir=place)

    def open(self) -> None:
        """Log in, leaving an earlier line. Raises LinkError, or UsageError when trying again would not help."""
        self._hang_up()
        self._opened += 1
        with tempfile.TemporaryFile() as complaints:
            words = self._words("yes", shlex.join(["exec", "/bin/sh", "-c", HOLD]))
            self._line = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
            )
            heard = b""
            for piece in self._pieces(self._line, OPENING):
                heard = (heard + piece)[-1024:]  # a login shell may say other things first
                if heard.endswith(READY):
                    return
            self._hang_up()
            raise refusal(self.address, _text(complaints))

    def run(self, command: str, take: Callable[[bytes], None], send: Path | None = None) -> None:
        """Run a command for the user's login shell there, with the file ``send`` as its input.

        Its output goes to ``take`` as it comes. Raises LinkError when the link breaks, CheckFailedError for any other
        exit code than 0.
        """
        if self._line is None or self._line.poll() is not None:
            raise LinkError(f"{self.address}: the connection was closed")
        with tempfile.TemporaryFile() as complaints, open(send or os.devnull, "rb") as source:
            words = self._words("no", command)
            process = subprocess.Popen(
                words, stdin=source, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
            )
            try:
                for piece in self._pieces(process):
                    take(piece)
                code = process.wait()
            finally:
                _end(process)
            said = _text(complaints)
        if code == LINK_LOST:
            raise LinkError(f"{self.address}: {last_line(said)}")
        if code != 0:
            raise CheckFailedError(f"{self.address}: a command there ended with exit code {code}: {last_line(said)}")

    def close(self) -> None:
        """Log out."""
        self._hang_up()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _words(self, master: str, command: str) -> list[str]:
        socket = Path(self._folder.name, str(self._opened))
        control = ["-o", f"ControlMaster={master}", "-o", f"ControlPath={socket}"]
        control += ["-o", "ProxyCommand=false"] if master == "no" else []  # through the socket or not at all
        return [*self._ssh, *control, *self.address.words, command]

    def _pieces(self, process: subprocess.Popen[bytes], patience: float | None = None) -> Iterator[bytes]:
        """What a process prints, until it says no more. Raises Stopped, or LinkError after so many seconds."""
        assert process.stdout is not None
        end = None if patience is None else time.monotonic() + patience
        while True:
            if self.stop.is_set():
                raise Stopped
            if end is not None and time.monotonic() > end:
                raise LinkError(f"{self.address}: no login within {patience:g} seconds")
            if select.select([process.stdout], [], [], LOOK)[0]:
                piece = os.read(process.stdout.fileno(), 1 << 16)
                if not piece:
                    return
                yield piece

    def _hang_up(self) -> None:
        if self._line is not None:
            assert self._line.stdin is not None
            self._line.stdin.close()  # ends what holds the line there, and then this end of it
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._line.wait(timeout=5)
            _end(self._line)
            self._line = None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # ssh takes its socket away and closes the link
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _text(file: object) -> str:
    file.seek(0)  # type: ignore[attr-defined]
    said: bytes = file.read(1 << 16)  # type: ignore[attr-defined]
    return said.decode(errors="replace")


def refusal(address: Address, said: str) -> EdgeCNNError:
    """The error for what ssh said when it could not log in."""
    fingerprint = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the board shows the true one"
    offending = re.search(r"^Offending \S+ key in (.+):(\d+)", printable_lines(said), re.MULTILINE)
    if "HOST IDENTIFICATION HAS CHANGED" in said or offending:
        place = f"{offending[1]} line {offending[2]}" if offending else "your known_hosts"
        return UsageError(
            f"{address}: its host key is not the one in {place}: it was set up anew, or somebody is in between; "
            f"{fingerprint}; only if it changed for a good reason remove that line"
        )
    if re.search(r"No \S+ host key is known|Host key verification failed", said):
        return UsageError(
            f"{address}: its host key is not in your known_hosts; log in once by hand ({address.by_hand}) and compare "
            f"the fingerprint: {fingerprint}"
        )
    if re.search(r"Permission denied|Too many authentication failures|No more authentication methods", said):
        return UsageError(
            f"{address}: it takes none of your keys ({last_line(said)}); passwords are not asked for here: "
            "run ssh-copy-id, or load the key with ssh-add"
        )
    line = last_line(said)
    if re.search(r"[Bb]ad configuration option|Can't open user config file|bad owner or permissions on", said, re.I):
        return UsageError(f"the ssh client's configuration cannot be used: {line}")
    error = LinkError(f"{address}: {line}")
    if "Could not resolve hostname" in said:
        error = LinkError(f"{address}: unknown host ({line}); check the name, or give the board's number")
        error.exit_code = UsageError.exit_code
    elif "refused" in said:
        error = LinkError(
            f"{address}: connection refused; is the board's SSH server on? (sudo systemctl enable --now ssh)"
        )
    elif re.search(r"timed out|No route to host|unreachable", said):
        error = LinkError(f"{address}: no answer ({line}); is the board on, and in this network?")
    return error
