"""install.sh and `edgecnn classify`, really run in ARM systems made of Debian's packages, where no board is at hand.

    python -m benchmarks.boards BUNDLE IMAGE [bookworm] [trixie]

Needs what `--target emulated:...` needs, and Debian's `proot`; a system takes some 300 MB and minutes, most of them
emulated pip. Nothing is measured: it prints what was run, and whether the answer there is the one here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgecnn.cli.main import main as edgecnn
from edgecnn.deploy.emulated_arm.cpus import ARM64, CORES, CPUS
from edgecnn.deploy.emulated_arm.root import configuration

SYSTEMS = {"bookworm": "3.11", "trixie": "3.13"}
ENGINE = "ai-edge-litert==2.1.6"  # later ones crash under QEMU 7.2 when an interpreter is made
PACKAGES = (
    "base-files", "coreutils", "dash", "findutils", "grep", "libstdc++6", "python3", "python3-venv", "sed",
    "util-linux",
)  # fmt: skip
HOME = "/home/pi"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CPU = CPUS["cortex-a72"]


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
    for name in ("dev", "proc", "tmp", HOME[1:], str(CERTIFICATES.parent)[1:]):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(CERTIFICATES, root / str(CERTIFICATES)[1:])  # which a package's script would make
    return root


def make_shared(folder: Path, bundle: Path, image: Path) -> None:
    """A folder of what the system sees from outside: what to classify, and the CPU as the kernel of the board shows it.

    Without the latter XNNPACK finds no CPU that it knows, and other kernels round otherwise.
    """
    shutil.copytree(bundle, folder / "bundle")
    shutil.copy(image, folder / "image")
    (folder / "cpuinfo").write_text(CPU.cpuinfo, "ascii")
    cpus = folder / "sys/devices/system/cpu"
    cpus.mkdir(parents=True)
    for name in ("possible", "present"):
        (cpus / name).write_text(f"0-{CORES - 1}\n", "ascii")


def inside(root: Path, shared: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the system, each of its processes on the emulated CPU.

    ``shared`` is there under the name that it has here: one kind of look at a file, proot 5.1 lets out of the system.
    """
    environment = ["env", "-i", f"HOME={HOME}", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "PROOT_NO_SECCOMP=1"]
    emulated = ["proot", "-q", f"qemu-aarch64 -cpu {CPU.name}", "-r", str(root), "-w", HOME]
    for place in ("/proc", "/dev", str(shared), f"{shared}/cpuinfo:/proc/cpuinfo", f"{shared}/sys:/sys"):
        emulated += ["-b", place]
    return subprocess.run([*environment, *emulated, *words], stdout=subprocess.PIPE, text=True)


def answer(said: str) -> tuple[str, list[tuple[str, float]]]:
    """The engine, and the likeliest labels of the image with their logits."""
    told = json.loads(said)
    return told["engine"], [(each["label"], each["logit"]) for each in told["images"][0]["top"]]


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
        shared = Path(name, "shared")
        shared.mkdir()
        make_shared(shared, bundle, image)
        if inside(root, shared, "/bin/sh", "wheelhouse/install.sh").returncode != 0:
            return False
        asked = ["classify", str(shared / "bundle"), str(shared / "image"), "--json"]
        there = inside(root, shared, f"{HOME}/.local/bin/edgecnn", *asked)
        here = subprocess.run([sys.executable, "-m", "edgecnn", *asked], stdout=subprocess.PIPE, text=True, check=True)
        engine, found = answer(there.stdout)
        wanted = answer(here.stdout)[1]
        print(f"{release}, Python {python}, {CPU.title}: install.sh ran; classify with {engine}: {found}", end="")
        print(" as here" if found == wanted else f", but here {wanted}", flush=True)
        return found == wanted


def main(words: list[str] | None = None) -> int:
    """Check the releases that are named, or all; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boards", description="install.sh in ARM systems.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("releases", nargs="*", default=list(SYSTEMS), metavar="RELEASE", help=", ".join(SYSTEMS))
    options = parser.parse_args(words)
    for release in options.releases:  # choices would refuse none at all
        if release not in SYSTEMS:
            parser.error(f"unknown release '{release}' (valid: {', '.join(SYSTEMS)})")
    failed = [release for release in options.releases if not check(options.bundle, options.image, release)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
