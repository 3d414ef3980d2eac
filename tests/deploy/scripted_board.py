"""A board whose environments are scripts: real SSH, real requests, but nothing is installed and nothing measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgecnn.measure.bench import bench
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.measurement import Session
from tests.deploy.ssh_server import SshServer, python_folder
from tests.measure.scripted import ScriptedWorker, quiet, surroundings

# Makes an environment of a script; everything else is Python's own.
PYTHON3 = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$4/bin" && cp {programs}/in_venv "$4/bin/python"; exit; fi
exec {python} "$@"
"""
IN_VENV = """#!/bin/sh
case "$*" in *"-m pip install"*) exec {programs}/pip;; esac
exec {python} {programs}/bench.py "$@"
"""
PIP = "#!/bin/sh\nexit 0\n"
# Says that it began, waits until it is told to go on (or is forgotten), and hands out a result made before.
BENCH = """
import os, pathlib, shutil, signal, sys
here = pathlib.Path(__file__).parent
with (here / "begun").open("a") as begun:
    print(*sys.argv[1:], file=begun)
signal.alarm(60)
print("round 1 of 2", file=sys.stderr, flush=True)
if (here / "hold").exists():
    (here / "hold").open().readline()
print("round 2 of 2", file=sys.stderr, flush=True)
shutil.copy(here / "result.json", sys.argv[sys.argv.index("--json") + 1])
sys.exit(int((here / "code").read_text()))
"""


class ScriptedBoard:
    """Scripts on a server that answer a bench with the result in ``result``; its shell is talkative."""

    def __init__(self, server: SshServer) -> None:
        self.server, self.target = server, server.target
        self._programs = server.programs
        self._gate: int | None = None
        self.result = self._programs / "result.json"
        words = {"programs": self._programs, "python": Path(python_folder(), Path(sys.executable).resolve().name)}
        self.program("python3", PYTHON3.format(**words))
        self.program("in_venv", IN_VENV.format(**words))
        self.program("pip", PIP)
        self.program("bench.py", BENCH)
        self.ends_with(0)
        (server.home / ".bashrc").write_text("echo welcome\n")

    def program(self, name: str, text: str) -> None:
        """Put a program into the first folder of the board's PATH."""
        path = self._programs / name
        path.write_text(text)
        path.chmod(0o755)

    def answers(self, order: Order) -> Session:
        """Make the result one of this order, from a scripted machine."""
        around = surroundings(lambda _case: ScriptedWorker(100.0), quiet())
        session = bench(find_cases(order), order.settings, around)
        session.save(self.result)
        return session

    def ends_with(self, code: int) -> None:
        """Let the bench end with this exit code."""
        (self._programs / "code").write_text(str(code))

    def hold(self) -> None:
        """Let each bench wait in its first round for a ``let_go``."""
        os.mkfifo(self._programs / "hold")
        self._gate = os.open(self._programs / "hold", os.O_RDWR)  # so that neither end waits for the other

    def let_go(self) -> None:
        """Let a bench go on that waits, or will."""
        assert self._gate is not None, "nothing is held"
        os.write(self._gate, b"go on\n")

    def close(self) -> None:
        """Give back what ``hold`` took."""
        if self._gate is not None:
            os.close(self._gate)

    def begun(self) -> list[str]:
        """The command lines of all benches so far."""
        path = self._programs / "begun"
        return path.read_text().splitlines() if path.exists() else []

    def left(self) -> list[str]:
        """What a bench left in the home, or running."""
        return [name for name in self.server.left() if name != ".bashrc"] + self.server.processes()
