"""Runs a program under the rules of a unit that the kernel enforces call by call: a stand-in for systemd.

    python under_unit.py UNIT_FILE PROGRAM WORD...

Those are SystemCallFilter=, MemoryDenyWriteExecute= and LimitDATA=, by the libseccomp that systemd itself uses; what
the sets of calls hold is systemd's own word.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
MASKED_EQUAL = 7
WRITE, EXECUTE, SHM_EXECUTE = 2, 4, 0o100000
ALWAYS = {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"}  # systemd.exec(5)


class Comparison(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def settings(unit: Path, name: str) -> list[str]:
    """The values of a setting of a unit, in their order."""
    return [line.split("=", 1)[1] for line in unit.read_text().splitlines() if line.startswith(f"{name}=")]


def allowed(unit: Path) -> set[str]:
    """The system calls that a unit allows."""
    calls = set(ALWAYS)
    for line in settings(unit, "SystemCallFilter"):
        named = {call for word in line.removeprefix("~").split() for call in members(word)}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def members(name: str) -> set[str]:
    """The system calls in one of systemd's sets, or the call itself."""
    if not name.startswith("@"):
        return {name}
    words = ["systemd-analyze", "syscall-filter", name]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    return {call for line in lines if (word := line.strip()) and word[0] != "#" for call in members(word)}


def confine(unit: Path) -> None:
    """Put this process, and what it starts, under the unit's rules for good."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    (limit,) = settings(unit, "LimitDATA")
    data = int(limit.removesuffix("G")) << 30
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    calls = allowed(unit)
    assert settings(unit, "MemoryDenyWriteExecute") == ["yes"]
    both = WRITE | EXECUTE
    _load(library, ALLOW, [
        ("mmap", REFUSE, Comparison(2, MASKED_EQUAL, both, both)),
        ("mprotect", REFUSE, Comparison(2, MASKED_EQUAL, EXECUTE, EXECUTE)),
        ("pkey_mprotect", REFUSE, Comparison(2, MASKED_EQUAL, EXECUTE, EXECUTE)),
        ("shmat", REFUSE, Comparison(2, MASKED_EQUAL, SHM_EXECUTE, SHM_EXECUTE)),
    ])  # fmt: skip
    _load(library, REFUSE, [(call, ALLOW, None) for call in sorted(calls)])  # last: it allows no other after it


def _load(library: ctypes.CDLL, default: int, rules: list[tuple[str, int, Comparison | None]]) -> None:
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    for name, action, comparison in rules:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1:  # newer than the library
            given = (0, None) if comparison is None else (1, ctypes.byref(comparison))
            code = library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, *given)
            assert code in (0, -errno.EDOM, -errno.EEXIST), f"{name}: {os.strerror(-code)}"
    assert library.seccomp_load(context) == 0


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
