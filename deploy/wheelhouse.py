"""A folder with all that installs edgecnn on a board without a network: wheels, their SHA-256, and install.sh.

``requirements.txt`` in it is what pip reads with --require-hashes; its first line says what the wheels are for, and
install.sh holds that against the board.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecnn.deploy.downloads import DownloadError, Platform, download
from edgecnn.deploy.wheel import build_wheel, requirements
from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.runtime.files import new_folder, refuse_existing, sha256

REQUIREMENTS, INSTALL = "requirements.txt", "install.sh"
SCRIPT = Path(__file__).parent / INSTALL
LIBC = 36  # Debian 12's, the oldest system with a Python that edgecnn runs on
CAMERA = "simplejpeg>=1.8"  # which picamera2 uses; Bookworm's own is built for NumPy 1
ARCHITECTURES = ("aarch64", "armv7l", "x86_64")
PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Wheel:
    """A wheel of a wheelhouse; ``pinned`` is its name and version as pip reads them."""

    file: str
    pinned: str
    bytes: int
    sha256: str


def platform_for(python: str, arch: str) -> Platform:
    """What wheels must be for. Raises UnknownNameError for a Python or an architecture that edgecnn does not know."""
    if python not in PYTHONS:
        raise UnknownNameError("Python", python, PYTHONS)
    if arch not in ARCHITECTURES:
        raise UnknownNameError("architecture", arch, ARCHITECTURES)
    major, minor = python.split(".")
    return Platform((int(major), int(minor)), arch, LIBC)


def build_wheelhouse(
    out: Path, platform: Platform, besides: Sequence[str], force: bool, say: Callable[[str], None]
) -> list[Wheel]:
    """Write a wheelhouse for a platform into the folder ``out``: the light install and some requirements besides.

    Raises UsageError when a package has no wheel for the platform, DownloadError when pip fails otherwise, and what
    check_place and new_folder raise.
    """
    check_place(out, force)
    with new_folder(out, force) as work, tempfile.TemporaryDirectory(prefix="edgecnn-") as name:
        say(f"fetching wheels for Python {_version(platform)} on {platform.machine}")
        never = threading.Event()  # Ctrl-C comes as an exception
        try:
            found = download([*requirements(), *besides], platform, Path(name), never)
        except DownloadError as error:
            if error.package is None:
                raise
            raise UsageError(_absent(error.package, platform)) from error
        for wheel in found:
            shutil.move(wheel, work / wheel.name)
        build_wheel(work)
        wheels = [_described(path) for path in sorted(work.glob("*.whl"))]
        lines = [f"# edgecnn for Python {_version(platform)} on {platform.machine}"]
        lines += [f"{wheel.pinned} --hash=sha256:{wheel.sha256}" for wheel in wheels]
        (work / REQUIREMENTS).write_text("\n".join(lines) + "\n", "utf-8")
        shutil.copyfile(SCRIPT, work / INSTALL)
        (work / INSTALL).chmod(0o755)
    return wheels


def check_place(out: Path, force: bool) -> None:
    """Raise OutputExistsError if ``out`` is there without ``force``, which replaces a wheelhouse and nothing else.

    Raises UsageError for a file, or a folder that holds anything else, OutputError where nothing can be written.
    """
    refuse_existing(out, force)
    if not os.path.lexists(out):
        return
    names = sorted(os.listdir(out)) if out.is_dir() else [out.name]
    others = [name for name in names if name not in (REQUIREMENTS, INSTALL) and not name.endswith(".whl")]
    if others or not out.is_dir():
        what = f"'{others[0]}' is no part of one" if others else f"{out} is a file"
        raise UsageError(f"--force replaces a wheelhouse and nothing else, and {what}; choose another --out than {out}")


def _version(platform: Platform) -> str:
    return f"{platform.python[0]}.{platform.python[1]}"


def _absent(package: str, platform: Platform) -> str:
    there = f"{package} has no wheel for Python {_version(platform)} on {platform.machine} in the package index"
    if platform.machine != "armv7l":
        return f"{there} (set PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS if you have it elsewhere)"
    if platform.python >= (3, 12):
        return f"{there}; no TFLite engine has, on 32-bit ARM, from Python 3.12 on: use a 64-bit system, or Python 3.11"
    return (
        f"{there}; piwheels has wheels for 32-bit Raspberry Pi OS: set PIP_EXTRA_INDEX_URL to the address in the "
        "board's /etc/pip.conf, or use a 64-bit system"
    )


def _described(path: Path) -> Wheel:
    """What a wheel's name says (PEP 427), and its digest."""
    parts = path.stem.split("-")
    if len(parts) not in (5, 6):
        raise BadFileError(f"{path.name} is not named as a wheel is; take it out of the index or folder it comes from")
    return Wheel(path.name, f"{parts[0].replace('_', '-')}=={parts[1]}", path.stat().st_size, sha256(path))
