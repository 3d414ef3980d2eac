"""Wheels for another machine, fetched by pip here: for a board without a network, or for a wheelhouse."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecnn.deploy.ssh.address import last_line
from edgecnn.deploy.ssh.connection import LOOK, Stopped
from edgecnn.errors import CheckFailedError, UsageError

OLDEST_LIBC = 17  # the x of manylinux2014's glibc 2.x
# pip reads conditions like "python_version < '3.12'" for the Python it runs in, also where --python-version is given.
PIP = """
import json, runpy, sys
from pip._vendor.packaging import markers
here, there = markers.default_environment, json.loads(sys.argv.pop(1))
markers.default_environment = lambda: {**here(), **there}
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


class DownloadError(CheckFailedError):
    """pip could not fetch; ``reason`` is its last error, ``package`` what it has no wheel of, if that is the reason."""

    def __init__(self, platform: Platform, said: Sequence[str]) -> None:
        unreached = [line for line in said if line.startswith("WARNING: Retrying")]  # pip calls that no wheel, too
        self.reason = f"no answer from the package index: {last_line(unreached[0])}" if unreached else reason(said)
        missing = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)", self.reason)
        self.package = missing[1] if missing else None
        super().__init__(f"the wheels for {platform.machine} could not be downloaded: {self.reason}")


@dataclass(frozen=True)
class Platform:
    """What wheels are for: CPython of a version, a machine as ``uname -m`` says it, and a glibc, 2.``libc``."""

    python: tuple[int, int]
    machine: str
    libc: int

    @property
    def tags(self) -> list[str]:
        """The platforms whose wheels run there, the newest first (PEP 600)."""
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.libc, OLDEST_LIBC - 1, -1)]
        return [*tags, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """What conditions in requirements read there (PEP 508)."""
        version = f"{self.python[0]}.{self.python[1]}"
        return {
            "python_version": version, "python_full_version": f"{version}.0", "implementation_version": f"{version}.0",
            "platform_machine": self.machine, "platform_system": "Linux", "sys_platform": "linux", "os_name": "posix",
            "implementation_name": "cpython", "platform_python_implementation": "CPython",
        }  # fmt: skip


def download(wanted: Sequence[str], platform: Platform, folder: Path, stop: threading.Event) -> list[Path]:
    """Fetch wheels of what is ``wanted`` and of what that requires into a folder.

    Requirements may have conditions, which hold or not as on the platform. ``stop`` ends it and raises Stopped. Raises
    DownloadError with pip's reason, UsageError when no Python here has pip.
    """
    platforms = [word for tag in platform.tags for word in ("--platform", tag)]
    words = [pip_python(), "-c", PIP, json.dumps(platform.markers), "download", "--quiet"]
    words += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), "--only-binary", ":all:"]
    words += ["--implementation", "cp", "--python-version", ".".join(map(str, platform.python)), *platforms]
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [*words, *wanted], stdin=subprocess.DEVNULL, stdout=complaints, stderr=complaints, start_new_session=True
        )
        try:
            while process.poll() is None:
                if stop.wait(LOOK):
                    raise Stopped
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").splitlines()
    if process.returncode != 0:
        raise DownloadError(platform, said)
    return sorted(folder.glob("*.whl"))


def pip_python() -> str:
    """A Python that has pip: this one, or the one that it was made from, since an environment need not have its own."""
    if importlib.util.find_spec("pip") is not None:
        return sys.executable
    for python in (getattr(sys, "_base_executable", ""), shutil.which("python3")):
        if python and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return python
    raise UsageError("fetching wheels needs pip, and no Python here has it; run: apt-get install python3-pip")


def reason(said: Sequence[str]) -> str:
    """The line of pip that says why: its last error, or else its last line."""
    errors = [line for line in said if line.startswith("ERROR:")]
    return last_line("\n".join(errors or said))
