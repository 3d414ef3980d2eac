"""The light wheel, from a checkout and from an installed edgecnn."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import edgecnn
from edgecnn.deploy.wheel import build_wheel

PACKAGE = Path(edgecnn.__file__).parent
SERVE = "h11>=1; (python_version < '3.13') and extra == 'serve'"
BUILD = "import sys, pathlib; from edgecnn.deploy.wheel import build_wheel; build_wheel(pathlib.Path(sys.argv[1]))"


def requires(wheel: Path) -> list[str]:
    """What a wheel says it requires."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("METADATA"))
        return Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []


def test_the_wheel_of_a_checkout_runs_unpacked_and_records_its_files(tmp_path: Path) -> None:
    wheel, home = build_wheel(tmp_path), tmp_path / "home"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home)
    start = [sys.executable, "-P", "-m", "edgecnn", "--version"]
    run = subprocess.run(start, cwd=home, env={"PYTHONPATH": str(home)}, capture_output=True, text=True)
    assert run.stdout == f"edgecnn {edgecnn.__version__}\n"
    record = (home / f"edgecnn-{edgecnn.__version__}.dist-info/RECORD").read_text().splitlines()
    assert {line.split(",")[0] for line in record} >= {
        "edgecnn/deploy/ssh/onboard.py", "edgecnn/measure/measurement.schema.json", "edgecnn/py.typed",
    }  # fmt: skip
    for name, digest, size in (line.split(",") for line in record[:-1]):
        content = (home / name).read_bytes()
        own = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        assert (digest, size) == (f"sha256={own}", str(len(content)))


def test_the_wheel_is_light_and_requires_what_the_light_install_does(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    assert wheel.stat().st_size < 1 << 20
    names = {line.split(">")[0].split("=")[0] for line in requires(wheel) if "extra ==" not in line}
    assert names == {"click", "pillow", "numpy", "ai-edge-litert", "tflite-runtime"}


def test_equal_files_make_an_equal_wheel(tmp_path: Path) -> None:
    copies = []
    for name in ("one", "two"):
        home = tmp_path / name
        shutil.copytree(PACKAGE, home / "edgecnn", ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
        shutil.copy(PACKAGE.parent / "pyproject.toml", home)
        if name == "two":
            (home / "edgecnn" / "errors.py").touch()
        subprocess.run([sys.executable, "-c", BUILD, str(home)], cwd=home, env={"PYTHONPATH": str(home)}, check=True)
        copies.append((home / f"edgecnn-{edgecnn.__version__}-py3-none-any.whl").read_bytes())
    assert copies[0] == copies[1]


def test_an_installed_edgecnn_packs_itself(tmp_path: Path) -> None:
    home = tmp_path / "site"
    shutil.copytree(PACKAGE, home / "edgecnn", ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    info = home / "edgecnn-0.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: edgecnn", "Version: 0.0", "Requires-Dist: click>=8"]
    lines += [
        'Requires-Dist: torch; extra == "train"',
        f"Requires-Dist: {SERVE}",
        "Requires-Dist: h12; extra == 'serve'",
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    subprocess.run(command, cwd=home, env={"PYTHONPATH": str(home)}, check=True)
    assert requires(tmp_path / f"edgecnn-{edgecnn.__version__}-py3-none-any.whl") == [
        "click>=8", SERVE, "h12; extra == 'serve'",
    ]  # fmt: skip
