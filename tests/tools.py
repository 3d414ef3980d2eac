"""Programs of the system that some tests drive: a browser, an SSH server, an emulator, a database."""

from __future__ import annotations

import glob
import os
import shutil

import pytest

PACKAGES = {
    "chromium": "chromium", "sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client",
    "qemu-aarch64": "qemu-user", "gcc": "gcc libc6-dev", "g++": "g++ python3-dev", "apt-get": "apt",
    "shellcheck": "shellcheck", "systemd-analyze": "systemd", "pg_ctl": "postgresql", "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}  # fmt: skip


def tool(name: str) -> str:
    """The path of a program; a machine without it skips the test, except CI, where its absence is a failure."""
    folders = ["/usr/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"))]
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *folders]))
    if path is not None:
        return path
    reason = f"{name} is not installed; on Debian: apt-get install {PACKAGES[name]}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
