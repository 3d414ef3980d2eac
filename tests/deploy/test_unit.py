"""The unit of the service: systemd's own checks of it, and a bundle that is classified under its rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import edgecnn
from edgecnn.deploy.ssh.service import UNIT
from tests import tiny_artifacts
from tests.deploy import under_unit
from tests.tools import tool

NAME = "edgecnn-front-door"
EXPOSURE = 15  # tenths, of at most 100; systemd calls up to 20 "OK", and a unit without any rule has 96


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system as systemd-analyze reads it, with the service of a name that has a hyphen installed."""
    tool("systemd-analyze")
    units = tmp_path / "root/usr/lib/systemd/system"
    shutil.copytree("/usr/lib/systemd/system", units, symlinks=True)
    for program in (f"opt/{NAME}/current/edgecnn", "bin/kill"):
        path = tmp_path / "root" / program
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    shutil.copy(UNIT, units / f"{NAME}.service")
    return tmp_path / "root"


def verified(root: Path) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says of the service in a system."""
    words = [tool("systemd-analyze"), "verify", f"--root={root}", "--man=no", f"{NAME}.service"]
    return subprocess.run(words, capture_output=True, text=True)


def under_rules(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run this Python under the unit's rules."""
    tool("systemd-analyze")
    environment = os.environ | {"PYTHONPATH": str(Path(edgecnn.__file__).parent.parent)} | more
    start = [sys.executable, under_unit.__file__, str(UNIT), sys.executable, *words]
    return subprocess.run(start, env=environment, capture_output=True, text=True)


def test_systemd_takes_every_line_of_it(root: Path) -> None:
    run = verified(root)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_what_it_starts_is_the_current_version_of_its_own_name(root: Path) -> None:
    (root / f"opt/{NAME}").rename(root / "opt/edgecnn-door")
    run = verified(root)
    assert f"/opt/{NAME}/current/edgecnn is not executable" in run.stderr


def test_it_exposes_little(root: Path) -> None:
    unit = root / f"usr/lib/systemd/system/{NAME}.service"
    words = [tool("systemd-analyze"), "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(unit)]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Type", "notify"), ("Restart", "on-failure"), ("ExecReload", "/bin/kill -HUP $MAINPID"), ("WatchdogSec", "60"),
        ("DynamicUser", "yes"), ("ProtectSystem", "strict"), ("ProtectHome", "yes"), ("CapabilityBoundingSet", ""),
        ("LoadCredential", "token:/etc/edgecnn/%N.token"), ("MemoryMax", "512M"),
    ],
)  # fmt: skip
def test_what_others_rely_on(name: str, value: str) -> None:
    assert under_unit.settings(UNIT, name) == [value]


def test_a_bundle_is_proven_and_classified_under_its_rules(tmp_path: Path) -> None:
    bundle = tiny_artifacts.bundle(tmp_path / "bundle")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    proven = tmp_path / "proven"
    words = ["-P", "-m", "edgecnn", "classify", str(bundle), str(tmp_path / "red.png")]
    run = under_rules(*words, EDGECNN_PROVEN=str(proven))
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path / "red.png"))
    assert list(proven.rglob("?" * 64))


@pytest.mark.parametrize("what", ["import mmap; mmap.mmap(-1, 4096, prot=7)", "import os; os.chroot('/')"])
def test_those_rules_hold(what: str) -> None:
    run = under_rules("-c", what)
    assert "PermissionError: [Errno 1]" in run.stderr
