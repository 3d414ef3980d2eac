"""Make a virtual environment with edgecnn and its pinned dependencies, or reuse one that is complete.

    python3 .ci/make_venv.py VENV     make or reuse the folder VENV
    python3 .ci/make_venv.py --key    print what identifies its content

The environment has the Python that runs this script. A stamp in it, written last, names what it was made from: when
that changed, or an installation was cut short, the folder is removed and made anew. Standard library only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
STAMP = "edgecnn-venv.stamp"
CHECKOUT = "edgecnn-venv.checkout"
UNFINISHED = "unfinished\n"
OLDEST, NEWEST = (3, 11), (3, 13)


def main(words: list[str]) -> None:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        fail(
            f"this is Python {sys.version.split()[0]}; the pinned packages need 3.11, 3.12 or 3.13: "
            "choose one, as in: make PYTHON=python3.12 ..."
        )
    if words == ["--key"]:
        print(key())
    elif len(words) == 1 and not words[0].startswith("-"):
        make(Path(words[0]).resolve())
    else:
        fail("usage: make_venv.py VENV | --key")


def fail(line: str) -> NoReturn:
    sys.exit(f"make_venv: error: {line}")


def key() -> str:
    """Identifies an environment's content: the declared and pinned dependencies, and the interpreter."""
    import tomllib  # absent before Python 3.11, which main() reports in its own words

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    parts = [declared["project"], declared["build-system"], sys.version, sys.base_prefix]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update((ROOT / "constraints.txt").read_bytes())
    return digest.hexdigest()[:20]


def make(venv: Path) -> None:
    stamp, checkout = venv / STAMP, venv / CHECKOUT
    wanted = f"{key()}\n{venv}\n"
    if read(stamp) != wanted or not (venv / "bin" / "python").exists():
        clear(venv, ours=stamp.is_file())
        print(
            f"Making {venv} with torch and the other workstation packages: about 7 GB on disk, two minutes or more "
            "as fast as they download.",
            flush=True,
        )
        venv.mkdir(parents=True)
        stamp.write_text(UNFINISHED, "utf-8")
        pip = new_environment(venv)
        pinned = [*pip, "install", "--constraint", "constraints.txt", "--only-binary", ":all:"]
        run([*pinned, "setuptools"])
        run([*pinned, *EDITABLE, ".[train,dev]"])
    elif read(checkout) != f"{ROOT}\n":  # complete, but it is linked to another checkout
        run([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", *EDITABLE, "."])
    else:
        return
    checkout.write_text(f"{ROOT}\n", "utf-8")
    stamp.write_text(wanted, "utf-8")


# setuptools is installed already, at its pinned version, so the build needs no environment of its own.
EDITABLE = ["--no-build-isolation", "--editable"]


def new_environment(venv: Path) -> list[str]:
    """Make the bare environment and return the command that is its pip."""
    base = getattr(sys, "_base_executable", sys.executable)  # not the python of the environment being replaced
    python = str(venv / "bin" / "python")
    if importlib.util.find_spec("ensurepip"):
        run([base, "-m", "venv", str(venv)])
        return [python, "-m", "pip"]
    # Some distributions leave ensurepip out; their pip can install into an environment that has none.
    run([base, "-m", "venv", "--without-pip", str(venv)])
    return [base, "-m", "pip", "--python", python]


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def clear(venv: Path, ours: bool) -> None:
    """Remove an environment made here before; refuse a folder that holds anything else."""
    if not venv.exists():
        return
    if not ours and (not venv.is_dir() or any(venv.iterdir())):
        fail(f"{venv} was not made by make; remove it, or choose another folder: make VENV=...")
    # Renamed first: a removal that is cut short must not leave a folder that looks like somebody else's.
    going = venv.with_name(f"{venv.name}.removing")
    if going.exists():
        shutil.rmtree(going)
    venv.rename(going)
    shutil.rmtree(going)


def run(command: list[str]) -> None:
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    if result.returncode:
        fail(f"exit code {result.returncode} from: {' '.join(command)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
