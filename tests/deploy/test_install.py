"""install.sh, really run: in a home of its own, from a wheelhouse that `edgecnn wheelhouse` made of what is here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import edgecnn
from edgecnn.cli.main import main
from edgecnn.deploy.wheelhouse import SCRIPT
from tests import tiny_artifacts
from tests.deploy.indexes import only_from, tiny_wheel
from tests.deploy.ssh_server import python_folder
from tests.deploy.wheels import repack_light
from tests.tools import tool

PYTHON = Path(python_folder(), Path(sys.executable).resolve().name)
VERSION = ".".join(map(str, sys.version_info[:2]))
ARCH = os.uname().machine


class Person:
    """Somebody with a home, a ``python3`` and a wheelhouse, and nothing else."""

    def __init__(self, folder: Path, wheelhouse: Path) -> None:
        self.home, self.wheelhouse = folder / "home", wheelhouse
        self._programs = folder / "programs"
        self.home.mkdir(parents=True)
        self._programs.mkdir()
        self.python(f'exec {PYTHON} "$@"')
        self.launcher = self.home / ".local/bin/edgecnn"

    def python(self, text: str) -> None:
        """Let ``python3`` be this shell script."""
        path = self._programs / "python3"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def installs(self, *words: str, wheelhouse: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the install.sh of a wheelhouse."""
        script = (wheelhouse or self.wheelhouse) / "install.sh"
        return self.runs("/bin/sh", str(script), *words, **more)

    def runs(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a program with nothing of this process's environment."""
        environment = {"HOME": str(self.home), "PATH": f"{self._programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"} | more
        environment |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
        return subprocess.run(words, env=environment, capture_output=True, text=True, cwd=self.home)

    def refused(self, *words: str, wheelhouse: Path | None = None, **more: str) -> str:
        """The one line of an error of install.sh, which leaves what was there."""
        before = self.left()
        run = self.installs(*words, wheelhouse=wheelhouse, **more)
        assert run.returncode == 2, run.stderr
        *_, last = run.stderr.splitlines()
        assert [line for line in run.stderr.splitlines() if ": error: " in line] == [last]
        assert self.left() == before
        return last

    def left(self) -> list[str]:
        """What of edgecnn is in the home but for its lock, and where links lead."""
        folder = self.home / ".local/lib/edgecnn"
        found = [path for path in [*folder.glob("*"), self.launcher] if os.path.lexists(path) and path.name != "lock"]
        return sorted(f"{path.name} {os.readlink(path) if path.is_symlink() else ''}" for path in found)


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheelhouse")
    wheels = folder / "wheels"
    wheels.mkdir()
    repack_light(wheels)
    with pytest.MonkeyPatch.context() as patch:
        only_from(patch, PIP_FIND_LINKS=str(wheels), PIP_NO_INDEX="1")
        assert main(["wheelhouse", "--python", VERSION, "--arch", ARCH, "--out", str(folder / "house")]) == 0
    return folder / "house"


@pytest.fixture
def person(tmp_path: Path, wheelhouse: Path) -> Person:
    return Person(tmp_path / "person", wheelhouse)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[Person]:
    """Somebody for whom edgecnn is installed; whatever a test then tries must leave it as it is."""
    person = Person(tmp_path_factory.mktemp("settled"), wheelhouse)
    run = person.installs()
    assert run.returncode == 0, run.stderr
    before = person.left()
    yield person
    assert person.left() == before
    assert person.runs(str(person.launcher), "--version").stdout == f"edgecnn {edgecnn.__version__}\n"


def changed(wheelhouse: Path, copy: Path) -> Path:
    """A copy of a wheelhouse, of which files may be replaced."""
    shutil.copytree(wheelhouse, copy, copy_function=os.link)
    return copy


def replaced(path: Path, text: str) -> None:
    """Give a file of a copy another text, and leave the original."""
    path.unlink()
    path.write_text(text)


def test_the_script_is_as_the_checker_wants_it() -> None:
    run = subprocess.run([tool("shellcheck"), "--shell=sh", str(SCRIPT)], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")


def test_an_installation_classifies(settled: Person, tmp_path: Path) -> None:
    bundle = tiny_artifacts.bundle(tmp_path / "bundle")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    run = settled.runs(str(settled.launcher), "classify", str(bundle), str(tmp_path / "red.png"))
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path / "red.png"))


def test_it_runs_again_and_leaves_one_environment(person: Person) -> None:
    assert person.installs().returncode == 0
    first = os.readlink(person.home / ".local/lib/edgecnn/current")
    (person.home / ".local/lib/edgecnn/venv-halfmade").mkdir()  # as a killed one leaves
    run = person.installs()
    assert run.returncode == 0, run.stderr
    assert f"the installation before ({first}) is removed" in run.stderr
    environments = [path.name for path in (person.home / ".local/lib/edgecnn").glob("venv-*")]
    assert environments == [os.readlink(person.home / ".local/lib/edgecnn/current")] != [first]
    assert person.runs(str(person.launcher), "--version").returncode == 0


def test_a_damaged_wheel_is_not_installed(settled: Person, tmp_path: Path) -> None:
    house = changed(settled.wheelhouse, tmp_path / "house")
    wheel = next(house.glob("click-*.whl"))
    content = wheel.read_bytes()
    wheel.unlink()
    wheel.write_bytes(content[:-1] + b"x")
    assert "DO NOT MATCH THE HASHES" in settled.refused(wheelhouse=house)


def test_an_engine_that_cannot_be_imported_changes_nothing(settled: Person, tmp_path: Path) -> None:
    house = changed(settled.wheelhouse, tmp_path / "house")
    broken = tiny_wheel(
        house, "ai_edge_litert", "99", "py3-none-any", module="raise OSError('illegal instruction\\n\\n')"
    )
    lines = (house / "requirements.txt").read_text().splitlines()
    digest = subprocess.run(["sha256sum", str(broken)], capture_output=True, text=True, check=True).stdout.split()[0]
    kept = [line for line in lines if re.match(r"#|edgecnn=|click=|numpy=|pillow=", line)]
    replaced(house / "requirements.txt", "\n".join([*kept, f"ai-edge-litert==99 --hash=sha256:{digest}"]) + "\n")
    line = settled.refused(wheelhouse=house)
    assert "the TFLite engine cannot be imported: OSError: illegal instruction; what was installed before is" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_end_from_outside_leaves_nothing_behind(settled: Person, number: int) -> None:
    settled.python(f'case "$*" in *"-m venv"*) kill -{int(number)} $PPID; exit 1;; esac\nexec {PYTHON} "$@"')
    try:
        before = settled.left()
        run = settled.installs()
        assert run.returncode in (130, 143)
        assert settled.left() == before
    finally:
        settled.python(f'exec {PYTHON} "$@"')


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            "3.9 64 aarch64 yes no",
            "python3 is 3.9, but edgecnn needs 3.11 or later; Raspberry Pi OS has that from Book",
        ),
        ("3.13 32 armv7l yes yes", "a 32-bit 3.13, for which no TFLite engine has wheels; what works: a 64-bit system"),
        ("3.12 64 aarch64 no yes", "python3 has no venv module; run: sudo apt install python3-venv"),
        (
            "3.10 64 sparc64 yes yes",
            "is for 'Python {version} on {arch}', but here is Python 3.10 on sparc64; make one:",
        ),
    ],
)
def test_a_python_that_will_not_do(person: Person, facts: str, reason: str) -> None:
    person.python(f"echo {facts}")
    assert reason.format(version=VERSION, arch=ARCH) in person.refused()


def test_the_facts_are_those_of_the_interpreter(person: Person) -> None:
    person.python(f'case "$*" in *"-m venv"*) echo "$*" >&2; exit 1;; esac\nexec {PYTHON} "$@"')
    run = person.installs()
    assert f"making an environment with Python {VERSION} on {ARCH}" in run.stderr


def test_a_camera_needs_the_systems_library_and_sees_the_systems_packages(person: Person, tmp_path: Path) -> None:
    assert "run: sudo apt install python3-picamera2" in person.refused("--camera")
    (tmp_path / "picamera2.py").touch()
    person.python(f'case "$*" in *"-m venv"*) echo "$*" >&2; exit 1;; esac\nexec {PYTHON} "$@"')
    line = person.refused("--camera", PYTHONPATH=str(tmp_path))
    assert "-m venv --system-site-packages" in line


def test_no_python_at_all(person: Person) -> None:
    assert "there is no nothing; run: sudo apt install python3" in person.refused(PYTHON="nothing")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--user"], "'--user' is not known (valid: --wheelhouse DIR, --camera, --serve, --help)"),
        (["--wheelhouse"], "--wheelhouse needs a folder"),
        (["--wheelhouse", "/nowhere"], "/nowhere: it has no requirements.txt; make one: edgecnn wheelhouse --python"),
        (["--serve"], "has nothing for it; make one: edgecnn wheelhouse --python"),
    ],
)
def test_what_cannot_be_asked_for(person: Person, words: list[str], reason: str) -> None:
    assert reason in person.refused(*words)


def test_a_script_that_lies_alone_asks_for_a_wheelhouse(person: Person, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copy(SCRIPT, tmp_path / "alone")
    assert "give --wheelhouse DIR" in person.refused(wheelhouse=tmp_path / "alone")


def test_a_program_of_somebody_else_is_not_replaced(person: Person) -> None:
    person.launcher.parent.mkdir(parents=True)
    person.launcher.write_text("mine")
    assert "is there and is not from here" in person.refused()
    assert person.launcher.read_text() == "mine"


def test_without_a_home_there_is_no_place(person: Person) -> None:
    assert "HOME is not set" in person.refused(HOME="")


def test_pip_works_only_inside_the_environment() -> None:
    text = SCRIPT.read_text()
    assert "break-system-packages" not in text
    calls = [line.strip() for line in text.splitlines() if "-m pip" in line]
    assert len(calls) == 1
    assert calls[0].startswith('"$new/bin/python" -m pip')


def test_on_a_32_bit_system_it_asks_for_what_the_project_declares_for_one(person: Person, tmp_path: Path) -> None:
    deploy = tmp_path / "checkout/deploy"
    deploy.mkdir(parents=True)
    shutil.copy(SCRIPT, deploy)
    shutil.copy(Path(edgecnn.__file__).parent.parent / "pyproject.toml", deploy.parent)
    (tmp_path / "in_venv").write_text("#!/bin/sh\nfor last; do :; done\ntr '\\n' ' ' <$last\nexit 1\n")
    (tmp_path / "in_venv").chmod(0o755)
    person.python(f"""case "$*" in
        *calcsize*) echo 3.11 32 armv7l yes yes ;;
        "-m venv"*) mkdir "$3/bin" && cp {tmp_path}/in_venv "$3/bin/python" ;;
        *) exec {PYTHON} "$@" ;;
    esac""")
    line = person.refused("--serve", wheelhouse=deploy)
    wanted = line.partition("installing failed: ")[2].partition(" ;")[0].split()
    assert {re.split("[><=]", each)[0] for each in wanted} >= {"click", "pillow", "numpy", "tflite-runtime", "uvicorn"}
    assert "numpy>=1.26,<2" in wanted
    assert not [each for each in wanted if each.startswith("ai-edge-litert")]
