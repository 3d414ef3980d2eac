"""Programs of the system that some tests drive: a browser, an SSH server, an emulator."""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {
    "chromium": "chromium", "sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client",
    "qemu-aarch64": "qemu-user", "gcc": "gcc libc6-dev", "apt-get": "apt", "shellcheck": "shellcheck",
    "systemd-analyze": "systemd",
}  # fmt: skip


def tool(name: str) -> str:
    """The path of a program; a machine without it skips the test, except CI, where its absence is a failure."""
    path = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if path is not None:
        return path
    reason = f"{name} is not installed; on Debian: apt-get install {PACKAGES[name]}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
