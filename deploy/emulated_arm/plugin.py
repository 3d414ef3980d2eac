"""The counter that QEMU loads: count_instructions.c, built once by the system's compiler for the QEMU that is here."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgecnn.deploy.emulated_arm.cache import Say, cache_root, once
from edgecnn.deploy.emulated_arm.cpus import System
from edgecnn.errors import EdgeCNNError, UsageError

SOURCE = Path(__file__).parent / "count_instructions.c"
LIBRARY = "count_instructions.so"
COMPILERS = ("cc", "gcc", "clang")

# The versions of QEMU's interface for plugins. What the counter uses of it is the same in both; from version 2 on,
# QEMU loads none that was made for version 1.
FIRST_WITH_PLUGINS, FIRST_WITH_API_2 = (4, 2), (9, 0)


@dataclass(frozen=True)
class QEMU:
    """An installed emulator: its path, what it calls itself, and its version's first two numbers."""

    path: str
    name: str
    version: tuple[int, int]


def find_qemu(system: System) -> QEMU:
    """The emulator of a system. Raises UsageError when it is missing, or cannot load a plugin."""
    path = shutil.which(system.emulator)
    if path is None:
        raise UsageError(f"{system.emulator} is not installed; on Debian 12: apt-get install qemu-user")
    said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    match = re.search(r"version (\d+)\.(\d+)\S*", said)
    if match is None:
        raise UsageError(f"{path} does not tell its version; give one of QEMU's own emulators")
    version = int(match[1]), int(match[2])
    helped = subprocess.run([path, "-help"], capture_output=True, text=True).stdout
    if version < FIRST_WITH_PLUGINS or "-plugin" not in helped:
        raise UsageError(
            f"{path} ({match[0]}) was built without plugins, so nothing can be counted: so are Debian's qemu-user-"
            "static, and its qemu-user from Debian 13 on; install the qemu-user of Debian 12, or build QEMU with "
            "--enable-plugins"
        )
    return QEMU(path, f"{system.emulator} {match[0].removeprefix('version ')}", version)


def plugin_for(qemu: QEMU, say: Say) -> Path:
    """The counter, as a library for this emulator. Raises UsageError without a compiler, EdgeCNNError if it fails."""
    api = 2 if qemu.version >= FIRST_WITH_API_2 else 1
    key = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = cache_root() / f"counter-{key}-{platform.machine()}-{api}"
    return once(folder, lambda work: _compile(work / LIBRARY, api, say), say) / LIBRARY


def _compile(path: Path, api: int, say: Say) -> None:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise UsageError(
            f"counting instructions needs a C compiler ({', '.join(COMPILERS)}), and there is none; on Debian: "
            "apt-get install gcc libc6-dev"
        )
    say("compiling the counter of instructions, once")
    words = [compiler, "-O2", "-shared", "-fPIC", f"-DPLUGIN_API={api}", str(SOURCE), "-o", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr.strip()]
        raise EdgeCNNError(f"{compiler} could not compile {SOURCE}: {lines[0][:300]}")
