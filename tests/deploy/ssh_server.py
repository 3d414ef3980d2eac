"""A real SSH server on loopback that stands in for a board: its own keys, its own home, its own programs.

A thread takes the connections and hands each to an ``sshd`` of its own, so that a test can cut one, or all for good.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.tools import tool

CONFIG = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintLastLog no
SetEnv HOME={home} PATH={path}
"""
CLIENT = """
Host *
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile none
"""


class SshServer:
    """``target`` is the address for --target, ``home`` the board's home, ``programs`` the first folder of its PATH."""

    def __init__(self, folder: Path, path: Sequence[str]) -> None:
        self.folder, self.home, self.programs = folder, folder / "home", folder / "programs"
        self._sshd = tool("sshd")
        for each in (folder, self.home, self.programs):
            each.mkdir(mode=0o755)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd gives up its rights
        for name in ("host_key", "user_key"):
            self.make_key(name)
        (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
        programs = os.pathsep.join([str(self.programs), *path])
        (folder / "sshd_config").write_text(CONFIG.format(folder=folder, home=self.home, path=programs))
        (folder / "ssh_config").write_text(CLIENT.format(folder=folder))
        self._open: list[socket.socket] = []
        self._listen(0)
        self.port = self._listener.getsockname()[1]
        self.target = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        self.know((folder / "host_key.pub").read_text())

    def make_key(self, name: str) -> None:
        """Make a new key pair in the folder."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        words = [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
        subprocess.run(words, check=True)

    def know(self, key: str) -> None:
        """Make this the key that the client knows for the server."""
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")

    def reopen(self) -> None:
        """Take connections again after ``close``."""
        self._listen(self.port)

    def cut(self) -> None:
        """Break all connections; new ones are taken."""
        while self._open:
            with contextlib.suppress(OSError), self._open.pop() as connection:
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break all connections; new ones are refused."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()

    def processes(self) -> list[str]:
        """The command lines of all processes that have the board's home as theirs and are no part of sshd."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"HOME={self.home}\0".encode() in (each / "environ").read_bytes():
                    found.append((each / "cmdline").read_text().replace("\0", " "))
        return [line for line in found if line]

    def left(self) -> list[str]:
        """What lies in the board's home."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        words = [self._sshd, "-i", "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "log")]
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            end = connection.fileno()
            process = subprocess.Popen(words, stdin=end, stdout=end, start_new_session=True)
            threading.Thread(target=process.wait, daemon=True).start()


def python_folder() -> str:
    """The folder of the interpreter that stands behind the tests' own environment."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve().parent)


@contextlib.contextmanager
def ssh_server(folder: Path, path: Sequence[str] | None = None) -> Iterator[SshServer]:
    """A server for the time of a test, with this PATH or one that has a whole Python and the system's programs."""
    server = SshServer(folder, [python_folder(), "/usr/bin", "/bin"] if path is None else path)
    try:
        yield server
    finally:
        server.close()
