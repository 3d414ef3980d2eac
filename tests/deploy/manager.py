"""A service manager that is played: programs named systemctl and journalctl, which fail and kill as they are told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgecnn.deploy.ssh import service
from tests.deploy.homes import manifest
from tests.deploy.ssh_server import python_folder

UNIT = "edgecnn-classifier"
# Keeps what systemd would know: which version runs, and with which unit.
SYSTEMCTL = """#!{python}
import json, os, pathlib, signal, sys
here = pathlib.Path(__file__).parent
unit, home = pathlib.Path({unit!r}), pathlib.Path({home!r})
words = sys.argv[1:]
with (here / "asked").open("a") as asked:
    print(*words, file=asked)
if words[0] == "is-system-running":
    print((here / "system").read_text())
    sys.exit()
count = len([line for line in (here / "asked").read_text().splitlines() if not line.startswith("is-system")])
told = json.loads((here / "told").read_text())
fails = count == told["fail_at"] or 0 < told["fail_from"] <= count
if words[0] == "restart" and not fails and count != told["kill_at"]:
    running = here / "running"
    running.unlink(missing_ok=True)
    bundle = (home / "current/bundle/manifest.json").read_text()
    if bundle in told["bad"]:
        (here / "journal").write_text("Started.\\nedgecnn: error: port 8765 is taken\\nFailed.\\n")
        sys.exit("Job for the service failed.")
    running.write_text(json.dumps([bundle, unit.read_text()]))
if words[:2] == ["disable", "--now"]:
    (here / "running").unlink(missing_ok=True)
if count == told["kill_at"]:
    os.kill(os.getppid(), signal.SIGKILL)
if fails:
    sys.exit("Failed to reach the manager.")
"""
JOURNALCTL = """#!/bin/sh
[ ! -e {programs}/journal ] || cat {programs}/journal
"""


class Manager:
    """The manager and root's files in a folder: ``places`` as onroot.py is told them, ``home`` the service's own."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.programs, self.units, self.tokens = programs, folder / "units", folder / "tokens"
        self.home = folder / "opt" / UNIT
        self.places = {"opt": str(folder / "opt"), "units": str(self.units), "tokens": str(self.tokens)}
        self.units.mkdir(parents=True)
        words = {"programs": str(programs), "python": Path(python_folder(), Path(sys.executable).resolve().name)}
        words |= {"home": str(self.home), "unit": str(self.units / f"{UNIT}.service")}
        self.program("systemctl", SYSTEMCTL.format(**words))
        self.program("journalctl", JOURNALCTL.format(**words))
        (programs / "system").write_text("degraded")
        self.tell()

    def program(self, name: str, text: str) -> None:
        """Put a program into the first folder of the board's PATH."""
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def tell(self, *, fail_at: int = 0, fail_from: int = 0, kill_at: int = 0, bad: tuple[Path, ...] = ()) -> None:
        """Let systemctl fail, or kill who asks, at a call counted from now; a service of a bad bundle fails."""
        (self.programs / "asked").unlink(missing_ok=True)
        texts = [(bundle / "manifest.json").read_text() for bundle in bad]
        told = {"fail_at": fail_at, "fail_from": fail_from, "kill_at": kill_at, "bad": texts}
        (self.programs / "told").write_text(json.dumps(told))

    def no_systemd(self) -> None:
        """Let the system be one that another init started."""
        (self.programs / "system").write_text("offline\n")

    def asked(self) -> list[str]:
        """What systemctl was asked since ``tell``, but for whether it is there."""
        path = self.programs / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.startswith("is-system")]

    def running(self) -> dict[str, Any] | None:
        """The manifest of what runs, None where nothing does; it runs with the unit of its version."""
        path = self.programs / "running"
        if not path.exists():
            return None
        text, unit = json.loads(path.read_text())
        assert unit == service.UNIT.read_text()
        found: dict[str, Any] = json.loads(text)
        return found

    def at_boot(self) -> dict[str, Any] | None:
        """The manifest of what the files would have systemd start; whole, or there is nothing to start."""
        current = self.home / "current"
        if not (self.units / f"{UNIT}.service").exists() or not current.exists():
            return None
        assert (self.home / (current / "env").read_text() / "install.exit").read_text() == "0"
        assert {path.name for path in current.iterdir()} == {"bundle", "edgecnn", "env", "unit"}
        return manifest(current / "bundle")

    def kept(self) -> list[str]:
        """What lies in the service's folder, but for what is in a version or an environment."""
        return sorted(path.name for path in [*self.home.iterdir(), *self.home.glob("versions/*")])
