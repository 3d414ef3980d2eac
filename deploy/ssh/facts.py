"""What a board's ``python3`` is, asked in a way that a Python of any age answers."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from edgecnn.deploy.ssh.address import Address
from edgecnn.errors import UsageError
from edgecnn.runtime.terminal import printable

OLDEST = (3, 11)

FIND = 'command -v python3 >/dev/null 2>&1 || { echo "EDGECNN {}"; exit 0; }; exec python3 -I -c "$0"'
# For a Python of any age.
PROBE = (
    "import importlib.util as u, json, platform, struct, sys, sysconfig; "
    'print("EDGECNN " + json.dumps({"python": list(sys.version_info[:3]), "bits": 8 * struct.calcsize("P"), '
    '"machine": platform.machine(), "abi": sysconfig.get_config_var("SOABI") or "", '
    '"libc": list(platform.libc_ver()), "venv": bool(u.find_spec("venv") and u.find_spec("ensurepip"))}))'
)
COMMAND = shlex.join(["exec", "/bin/sh", "-c", FIND, PROBE])


@dataclass(frozen=True)
class Facts:
    """What the board's ``python3`` is: version, bits of a pointer, architecture, ABI, C library, has it venv."""

    python: tuple[int, ...]
    bits: int
    machine: str
    abi: str
    libc: tuple[str, ...]
    venv: bool


def check(facts: Facts, address: Address) -> None:
    """Raises UsageError, saying what to do, for a Python that cannot run edgecnn."""
    version = ".".join(map(str, facts.python))
    if facts.python < OLDEST:
        raise UsageError(
            f"{address}: its python3 is {version}, but edgecnn needs 3.11 or later; "
            "Raspberry Pi OS has that from Bookworm on"
        )
    if facts.bits != 64:
        raise UsageError(
            f"{address}: its python3 is a {facts.bits}-bit one ({printable(facts.abi)[:60]}), for which there "
            "is no ai-edge-litert; install a 64-bit system"
        )
    if not facts.venv:
        raise UsageError(f"{address}: its python3 has no venv module; run there: sudo apt install python3-venv")
