"""install.sh and `edgecnn classify`, really run in ARM systems made of Debian's packages, where no board is at hand.

    python -m benchmarks.boards BUNDLE IMAGE [bookworm] [trixie]

Needs what `--target emulated:...` needs, and Debian's `proot`; a system takes some 300 MB and minutes, most of them
emulated pip. Nothing is measured: it prints what was run, and whether the answer there is the one here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgecnn.cli.main import main as edgecnn
from edgecnn.deploy.emulated_arm.cpus import ARM64
from edgecnn.deploy.emulated_arm.root import configuration

SYSTEMS = {"bookworm": "3.11", "trixie": "3.13"}
ENGINE = "ai-edge-litert==2.1.6"  # later ones crash under QEMU 7.2 when an interpreter is made
PACKAGES = (
    "base-files", "coreutils", "dash", "findutils", "grep", "libstdc++6", "python3", "python3-venv", "sed",
    "util-linux",
)  # fmt: skip
HOME = "/home/pi"


def make_system(folder: Path, release: str) -> Path:
    """An ARM system of a Debian release in a folder, unpacked and not configured; its root."""
    downloads, root = folder / "downloads", folder / "root"
    downloads.mkdir()
    environment = os.environ | {"APT_CONFIG": str(configuration(downloads, ARM64, release)), "LC_ALL": "C"}
    subprocess.run(["apt-get", "update", "-qq"], env=environment, check=True)
    words = ["install", "-qq", "-y", "--no-install-recommends", "--download-only", *PACKAGES]
    subprocess.run(["apt-get", *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    for name in ("bin", "lib", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((downloads / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    for name in ("dev", "proc", "tmp", HOME[1:]):
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def inside(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the system, each of its processes on the emulated CPU."""
    environment = ["env", "-i", f"HOME={HOME}", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "PROOT_NO_SECCOMP=1"]
    emulated = ["proot", "-q", "qemu-aarch64", "-r", str(root), "-b", "/proc", "-b", "/dev", "-w", HOME]
    return subprocess.run([*environment, *emulated, *words], stdout=subprocess.PIPE, text=True)


def answers(said: str) -> tuple[str, list[list[str]]]:
    """The engine, and the labels of each image, the likeliest first."""
    told = json.loads(said)
    return told["engine"], [[each["label"] for each in row["top"]] for row in told["images"]]


def check(bundle: Path, image: Path, release: str) -> bool:
    """Install and classify in a system of a release, and say what came of it."""
    python = SYSTEMS[release]
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as name:
        root = make_system(Path(name), release)
        home = root / HOME[1:]
        (home / "constraint").write_text(f"{ENGINE}\n")
        os.environ["PIP_CONSTRAINT"] = str(home / "constraint")
        words = ["wheelhouse", "--python", python, "--arch", "aarch64", "--out", str(home / "wheelhouse")]
        if edgecnn(words) != 0:
            return False
        shutil.copytree(bundle, home / "bundle")
        shutil.copy(image, home / "image")
        if inside(root, "/bin/sh", "wheelhouse/install.sh").returncode != 0:
            return False
        there = inside(root, f"{HOME}/.local/bin/edgecnn", "classify", "bundle", "image", "--json")
        words = [sys.executable, "-m", "edgecnn", "classify", str(bundle), str(image), "--json"]
        here = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        engine, labels = answers(there.stdout)
        same = labels == answers(here.stdout)[1]
        print(f"{release}, Python {python}, aarch64: install.sh ran, classify with {engine}: {labels[0]}, ", end="")
        print("as here" if same else f"but here {answers(here.stdout)[1][0]}")
        return same


def main(words: list[str]) -> int:
    """Check the releases that are named, or all; the exit code."""
    bundle, image, *releases = words
    failed = [release for release in releases or SYSTEMS if not check(Path(bundle), Path(image), release)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
