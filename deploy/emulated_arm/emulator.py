"""Starts device.py: on an emulated CPU, with the counter or without, and on this machine to compare with."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import edgecnn
from edgecnn.deploy.emulated_arm.cache import Say, cache_root, once
from edgecnn.deploy.emulated_arm.cpus import CORES, CPU
from edgecnn.deploy.emulated_arm.device import COUNTS
from edgecnn.deploy.emulated_arm.plugin import find_qemu, plugin_for
from edgecnn.deploy.emulated_arm.root import SITE, root_of
from edgecnn.measure.worker import Worker

Start = Callable[[], AbstractContextManager[Worker]]

# Only edgecnn is taken from here: its neighbours in a site-packages folder are built for this machine.
PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import edgecnn
sys.path.pop(0)
from edgecnn.deploy.emulated_arm.device import main
main()
"""


@dataclass(frozen=True)
class Emulator:
    """What a bench needs of QEMU; tests replace it. ``name`` is the program and its version.

    ``plain`` starts a process on the emulated CPU, ``counted`` one with the counter, ``here`` one on this machine.
    """

    name: str
    plain: Start
    counted: Start
    here: Start


def emulator_for(cpu: CPU, say: Say) -> Emulator:
    """The emulator of a CPU; its system and its counter are made now if they are not there. ``say`` hears of that.

    Raises what find_qemu, plugin_for and root_of do.
    """
    qemu = find_qemu(cpu.system)
    plugin = plugin_for(qemu, say)
    root = root_of(cpu.system, say)
    emulated = [qemu.path, "-cpu", cpu.name, "-L", str(_board(cpu, root, say))]
    python = [str(root / "usr/bin/python3.11"), "-P", "-S", "-c", _program()]
    environment = {
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",  # the same work every time
        "PYTHONPATH": f"{root / SITE}:{root}/usr/lib/python3/dist-packages",
        "PYTHONPYCACHEPREFIX": str(cache_root() / "bytecode"),
        # Debian's packages leave this choice to a script that runs when they are installed.
        "LD_LIBRARY_PATH": str(root / "usr/lib/arm-linux-gnueabihf/openblas-pthread"),
    }

    @contextmanager
    def counted() -> Iterator[Worker]:
        with tempfile.TemporaryDirectory(prefix="edgecnn-counts-") as folder:
            counts = Path(folder, "counts")
            counting = ["-plugin", ",".join(_option(word) for word in (f"file={plugin}", f"out={counts}"))]
            words = [*_alone(environment | {COUNTS: str(counts)}), *emulated, *counting, *python]
            with Worker(words) as worker:
                yield worker

    return Emulator(
        qemu.name,
        lambda: Worker([*_alone(environment), *emulated, *python]),
        counted,
        lambda: Worker([sys.executable, "-P", "-c", _program()]),
    )


def _board(cpu: CPU, root: Path, say: Say) -> Path:
    """The root as programs see it on the board of a CPU: links to the root's folders, and what the kernel would say."""

    def make(work: Path) -> None:
        for entry in root.iterdir():
            (work / entry.name).symlink_to(entry)
        cpus = work / "sys/devices/system/cpu"
        cpus.mkdir(parents=True)
        for name in ("possible", "present"):
            (cpus / name).write_text(f"0-{CORES - 1}\n", "ascii")
        (work / "proc").mkdir()
        (work / "proc/cpuinfo").write_text(cpu.cpuinfo, "ascii")

    key = hashlib.sha256(f"{root}\n{cpu.cpuinfo}".encode()).hexdigest()[:16]
    return once(root.parent / f"{cpu.name}-{key}", make, say)


def _program() -> str:
    return PROGRAM.format(folder=str(Path(edgecnn.__file__).parent.parent))


def _alone(environment: dict[str, str]) -> list[str]:
    """A command's first words that give it these variables and no others."""
    return ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]


def _option(word: str) -> str:
    return word.replace(",", ",,")  # a comma would begin QEMU's next option
