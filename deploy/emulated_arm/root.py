"""A small ARM system in a folder: Debian packages unpacked and wheels beside them, made without root's rights.

apt runs with a configuration, lists and state of its own, so the system's are not touched; only the mirror, the key of
Debian's archive and the settings of the network are the system's. Every package is checked against Debian's signature
by apt, every wheel against its SHA-256 by pip.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgecnn.deploy.downloads import pip_python
from edgecnn.deploy.emulated_arm.cache import Say, cache_root, once
from edgecnn.deploy.emulated_arm.cpus import System
from edgecnn.errors import EdgeCNNError, UsageError

HERE = Path(__file__).parent
RELEASE = "bookworm"  # its Python is 3.11, the newest that tflite-runtime has wheels for
PYTHON = "311"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LAYOUT = 1  # raised when a root is put together in another way
SITE = "site"  # the wheels' folder in a root
VERSIONS = "versions.txt"  # what the root was made of


def packages(system: System) -> list[str]:
    """The names of a root's Debian packages."""
    lines = (HERE / f"{system.name}-packages.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def wheels(system: System) -> Path:
    """The list of a root's wheels, with their SHA-256, as pip reads it."""
    return HERE / f"{system.name}-wheels.txt"


def root_of(system: System, say: Say) -> Path:
    """The folder of the system's root; made now, in about half a minute, if it is not there. ``say`` hears of it.

    Raises UsageError for a tool that is missing here, EdgeCNNError when a package cannot be had, OutputError.
    """
    parts = repr((LAYOUT, RELEASE, PYTHON, packages(system), wheels(system).read_text("utf-8")))
    path = cache_root() / f"{system.name}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}"
    return once(path, lambda work: _make(work, system, say), say)


def _make(work: Path, system: System, say: Say) -> None:
    _need_debian()
    with tempfile.TemporaryDirectory(prefix="downloads-", dir=work) as name:
        downloads = Path(name)
        names = packages(system)
        say(f"making an emulated {system.name} system, once: reading Debian's list of packages")
        environment = os.environ | {"APT_CONFIG": str(configuration(downloads, system, RELEASE)), "LC_ALL": "C"}
        _run(["apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any"], downloads, environment)
        say(f"fetching {len(names)} packages of Debian {RELEASE}")
        _run(["apt-get", "download", "-qq", *names], downloads, environment)
        debs = sorted(downloads.glob("*.deb"))
        _fetch_wheels(downloads, system, say)
        say("unpacking them")
        for deb in debs:
            _run(["dpkg", "-x", str(deb), str(work)], downloads)
        files = sorted(downloads.glob("*.whl"))
        for wheel in files:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(work / SITE)
        (work / VERSIONS).write_text("".join(f"{file.name}\n" for file in [*debs, *files]), "utf-8")


def _need_debian() -> None:
    missing = [tool for tool in ("apt-get", "apt-config", "dpkg") if shutil.which(tool) is None]
    if missing:
        raise UsageError(
            f"an emulated ARM system is made of Debian packages, and this system has no {', '.join(missing)}; "
            "run it on Debian or in a container of it"
        )
    if not KEYRING.is_file():
        raise UsageError(
            f"the key that Debian's packages are signed with is not in {KEYRING}; run: "
            "apt-get install debian-archive-keyring"
        )


def configuration(folder: Path, system: System, release: str) -> Path:
    """apt's configuration for a Debian release, with everything that it reads or writes in ``folder``.

    Raises UsageError when apt here knows no mirror yet.
    """
    for name in ("lists/partial", "archives/partial", "none"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {release} main\n", "utf-8")
    file = folder / "apt.conf"
    network = [_ask(["apt-config", "dump", "--format", '%F "%v";%n', f"Acquire::{name}"]) for name in ("http", "https")]
    lines = [
        f'APT::Architecture "{system.name}";',
        f'APT::Architectures {{ "{system.name}"; }};',
        'APT::Sandbox::User "root";',  # the folder is this user's, whoever that is
        f'Dir::State "{folder}";',
        f'Dir::State::lists "{folder}/lists";',
        f'Dir::State::status "{folder}/status";',
        f'Dir::Cache "{folder}";',
        f'Dir::Cache::archives "{folder}/archives";',
        f'Dir::Etc::sourcelist "{folder}/sources.list";',
        'Dir::Etc::main "/dev/null";',
        # Not the system's: hooks in its configuration would run, its sources and preferences would count.
        *(f'Dir::Etc::{kind} "{folder}/none";' for kind in ("parts", "sourceparts", "preferencesparts")),
        'Dir::Etc::preferences "/dev/null";',
        'Acquire::Languages "none";',
        'Acquire::Retries "2";',
        *network,
    ]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def _mirror() -> str:
    """The mirror that the system takes Debian from. Raises UsageError when apt knows none yet."""
    form = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    for line in _ask(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines():
        origin, label, address = line.split("|", 2)
        if (origin, label) == ("Debian", "Debian") and address.startswith(("http:", "https:")):
            return address
    raise UsageError("apt does not know yet where Debian's packages are; run, as root: apt-get update")


def _fetch_wheels(folder: Path, system: System, say: Say) -> None:
    count = wheels(system).read_text("utf-8").count("--hash")
    say(f"fetching {count} wheels")
    platforms = [word for platform in system.platforms for word in ("--platform", platform)]
    _run(
        [
            pip_python(), "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes",
            "--disable-pip-version-check", "--implementation", "cp", "--python-version", PYTHON, *platforms,
            "--dest", str(folder), "--requirement", str(wheels(system)),
        ],
        folder,
    )  # fmt: skip


def _ask(command: Sequence[str]) -> str:
    """What a command prints; nothing when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return done.stdout.strip() if done.returncode == 0 else ""


def _run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("E:", "ERROR:", "dpkg"))] or lines or ["nothing was said"]
        program = "pip" if "pip" in command else command[0]
        raise EdgeCNNError(
            f"the emulated ARM system could not be made: {program} failed with exit code {done.returncode}: "
            f"{told[0][:300]} (it is fetched once, from Debian and from the package index, and needs a network)"
        )
