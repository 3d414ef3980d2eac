"""What edgecnn takes on a device: ``python -m benchmarks.footprint [--measure [--record] | --check]``.

Makes a fresh virtual environment with the light install of this checkout, and measures in it: bytes on disk, time to
import, memory of ``classify`` after 1,000 images and its growth over 100,000, cold start, and the time for one image
beyond the engine's own. The peer in each is ten_lines.py, a classifier written by hand, by turns with ours.

Without an option the committed results are printed. ``--measure`` measures, ``--measure --record`` also keeps it;
``--check`` is the gate, of what does not depend on the machine's speed, and with wide bounds of ratios within one run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bundles import bundle, default_cache, say
from edgecnn.errors import CheckFailedError, EdgeCNNError
from edgecnn.measure.machine import read_machine
from edgecnn.report.table import table
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.files import write_bytes

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "footprint.json"
CHILD = Path(__file__).with_name("footprint_child.py")
SCRIPT = Path(__file__).with_name("ten_lines.py")
INSTALLED = ("edgecnn", "deploy", "pyproject.toml", "README.md", "LICENSE")  # what pip needs of the checkout
MODEL, DATA = "depthwise", "digits"
IMAGES = 1000  # before memory is looked at the first time
STARTS = {
    "edgecnn --help": ("edgecnn.cli.main",),
    "edgecnn classify": (
        "edgecnn.cli.main", "edgecnn.cli.classify", "edgecnn.runtime.signature", "edgecnn.runtime.bundle",
        "edgecnn.runtime.classify", "edgecnn.runtime.litert", "ai_edge_litert.interpreter",
    ),
    "ten lines": ("numpy", "PIL.Image", "ai_edge_litert.interpreter"),
}  # fmt: skip

# The gate. Bytes on disk are compared where Python and CPU are those of the committed results.
DISK_SHARE, MEMORY_SHARE = 1.05, 1.10  # of the committed
GROWTH = 1 << 19  # bytes from 1,000 images to the last
OVERHEAD = 20.0  # microseconds beyond the ten lines; the goal is 5, on a quiet machine
COLD_START = 3.0  # times the CPU of the ten lines' cold start


class Light:
    """The light install in ``folder``, and what is run in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        source = folder / "source"
        source.mkdir()
        for name in INSTALLED:
            each = ROOT / name
            if each.is_dir():
                shutil.copytree(each, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(each, source / name)
        venv.create(folder / "venv", with_pip=True)
        self.python = folder / "venv" / "bin" / "python"
        self._environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "EDGECNN_PROVEN"):
            self._environment.pop(name, None)
        pinned = ["--constraint", str(ROOT / "constraints.txt"), "--only-binary", ":all:", str(source)]
        self._run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned)

    def ask(self, *words: object) -> Any:
        """The answer of footprint_child.py."""
        return json.loads(self._run("-P", CHILD, *words).splitlines()[-1])

    def first_line(self, *words: object) -> tuple[float, float]:
        """Milliseconds from the start of a program to the first line it prints, and of CPU until it ended."""
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with subprocess.Popen(
            list(map(str, words)), cwd=self._folder, env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            line = process.stdout.readline()
            took = 1000 * (time.perf_counter() - start)
            process.stdout.read()
        if process.returncode or not line:
            raise CheckFailedError(f"{words[0]} failed with exit code {process.returncode}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return took, 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)

    def _run(self, *words: object) -> str:
        line = [str(self.python), *map(str, words)]
        run = subprocess.run(line, cwd=self._folder, env=self._environment, text=True, capture_output=True)
        if run.returncode:
            raise CheckFailedError(f"{' '.join(line)[:200]} failed: {' '.join(run.stderr.split())[-500:]}")
        return run.stdout


def measure(images: int, calls: int, starts: int) -> dict[str, Any]:
    """All figures. ``images`` is how many memory may grow over, ``calls`` and ``starts`` how often times are taken.

    Raises CheckFailedError where something does not run.
    """
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opened = open_bundle(bundle(MODEL, DATA, default_cache(), ("tflite",)))
        file = opened.path / opened.artifact().file
        pictures = []
        for number, pixels in enumerate(opened.sample()[0][:20]):
            pictures.append(folder / f"{number}.png")
            Image.fromarray(pixels).save(pictures[-1])
        say("installing")
        light = Light(folder)
        packages = sorted(light.ask("packages"), key=lambda row: -row["bytes"])
        modules = {"edgecnn --help": light.ask("modules", "--help")}
        modules["edgecnn classify"] = light.ask("modules", "classify", opened.path, pictures[0])
        say("starting")
        imports = _medians(starts, {each: lambda each=each: (light.ask("import", *STARTS[each]),) for each in STARTS})
        edgecnn = light.python.with_name("edgecnn")
        cold = _medians(
            starts,
            {
                "edgecnn classify": lambda: light.first_line(edgecnn, "classify", opened.path, pictures[0]),
                "ten lines": lambda: light.first_line(light.python, "-P", SCRIPT, file, pictures[0]),
            },
        )
        say("classifying")
        return {
            "machine": {"cpu": read_machine().cpu, "architecture": read_machine().architecture,
                        "python": read_machine().python},
            "packages": packages,
            "modules": modules,
            "import_cpu_ms": {each: took[0] for each, took in imports.items()},
            "cold_start_ms": {each: took[0] for each, took in cold.items()},
            "cold_start_cpu_ms": {each: took[1] for each, took in cold.items()},
            "memory": {
                "edgecnn classify": light.ask("verb", IMAGES, opened.path, *pictures),
                "ten lines": light.ask("script", IMAGES, file, *pictures),
            },
            "growth": light.ask("growth", images, opened.path, *pictures),
            "microseconds": light.ask("overhead", calls, opened.path),
        }  # fmt: skip


def problems(now: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """What does not pass the gate, a line for each."""
    found = []
    same = ("architecture", "python")
    if [now["machine"][name].split(".")[:2] for name in same] == [
        committed["machine"][name].split(".")[:2] for name in same
    ]:
        size, before = disk(now), disk(committed)
        if size > DISK_SHARE * before:
            found.append(f"the light install is {size:,} bytes, and was {before:,}")
    else:
        say("another Python or CPU than that of the committed results: bytes on disk are not compared")
    for name, facts in now["modules"].items():
        more = set(facts["packages"]) - set(committed["modules"][name]["packages"])
        if more:
            found.append(f"{name} imports {', '.join(sorted(more))}, which it did not")
    ratio, before = (each["memory"]["edgecnn classify"] / each["memory"]["ten lines"] for each in (now, committed))
    if ratio > MEMORY_SHARE * before:
        found.append(f"classify takes {ratio:.2f} times the ten lines' memory, and took {before:.2f} times")
    if grown(now) > GROWTH:
        found.append(f"memory grows by {grown(now):,} bytes over {now['growth'][-1][0]:,} images")
    if overhead(now) > OVERHEAD:
        found.append(f"an image takes {overhead(now):.1f} us more than in ten lines, at most {OVERHEAD:g} are allowed")
    ratio = now["cold_start_cpu_ms"]["edgecnn classify"] / now["cold_start_cpu_ms"]["ten lines"]
    if ratio > COLD_START:
        found.append(f"a cold start takes {ratio:.1f} times the CPU of ten lines, at most {COLD_START:g} are allowed")
    return found


def disk(facts: dict[str, Any]) -> int:
    """Bytes of the whole light install."""
    return sum(row["bytes"] for row in facts["packages"])


def grown(facts: dict[str, Any]) -> int:
    """Bytes by which memory grew from 1,000 images to the last."""
    return facts["growth"][-1][1] - dict(facts["growth"])[IMAGES]


def overhead(facts: dict[str, Any]) -> float:
    """Microseconds for one image beyond those of the ten lines."""
    return facts["microseconds"]["edgecnn"] - facts["microseconds"]["ten_lines"]


def text(facts: dict[str, Any]) -> str:
    """What is printed."""
    sizes = [[row["package"], row["version"], f"{row['bytes'] / 1e6:.1f}"] for row in facts["packages"]]
    total = ["all", "", f"{disk(facts) / 1e6:.1f}"]
    ours, peer = "edgecnn classify", "ten lines"
    rows = [
        [what, *(f"{facts[name][who] / scale:,.1f}" for who in (ours, peer))]
        for what, name, scale in (
            ("ms of CPU to import", "import_cpu_ms", 1),
            ("ms of CPU for one image, from the start", "cold_start_cpu_ms", 1),
            ("ms from the start to the first answer", "cold_start_ms", 1),
            (f"MB resident after {IMAGES:,} images", "memory", 1e6),
        )
    ]
    times = facts["microseconds"]
    rows.append(["us from pixels to class", f"{times['edgecnn']:,.1f}", f"{times['ten_lines']:,.1f}"])
    beyond = [f"{times[name] - times['invoke']:,.1f}" for name in ("edgecnn", "ten_lines")]
    rows.append(["us of these beyond invoke()", *beyond])
    rows.append(["us of runner.run() beyond invoke()", f"{times['runner'] - times['invoke']:,.1f}", "-"])
    rows.append(["modules imported", f"{facts['modules'][ours]['modules']:,}", "-"])
    machine = facts["machine"]
    return "\n".join(
        [
            table(["light install", "version", "MB"], [*sizes, total], "llr"),
            "",
            table(["", ours, peer], rows, "lrr"),
            "",
            f"edgecnn --help imports {facts['modules']['edgecnn --help']['modules']:,} modules in "
            f"{facts['import_cpu_ms']['edgecnn --help']:.0f} ms, none of numpy, Pillow or the engine.",
            f"From {IMAGES:,} to {facts['growth'][-1][0]:,} images, memory grows by {grown(facts) / 1024:,.0f} KiB.",
            f"An image takes {overhead(facts):.1f} us longer than in the ten lines.",
            f"{machine['cpu']}, Python {machine['python']}, {MODEL} static_w8a8 of {DATA}.",
        ]
    )


def _medians(times: int, calls: dict[str, Any]) -> dict[str, list[float]]:
    """The median of each figure that each call gives, all calls by turns, after one that does not count."""
    took: dict[str, list[tuple[float, ...]]] = {name: [] for name in calls}
    for _, (name, call) in itertools.product(range(times + 1), calls.items()):
        took[name].append(call())
    return {name: [statistics.median(each) for each in zip(*rows[1:], strict=True)] for name, rows in took.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Print, measure or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description="What edgecnn takes.")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--measure", action="store_true", help="measure anew")
    asked.add_argument("--check", action="store_true", help="a short measurement, held against the committed one")
    parser.add_argument("--record", action="store_true", help="with --measure, make it the committed results")
    options = parser.parse_args(words)
    if options.record and not options.measure:
        parser.error("--record keeps what --measure makes; give both")
    committed = json.loads(RESULTS.read_text("utf-8"))
    try:
        if options.check:
            now = measure(10_000, 3_000, 5)
            print(text(now))
            wrong = problems(now, committed)
            if wrong:
                raise CheckFailedError("; ".join(wrong))
            return 0
        facts = measure(100_000, 30_000, 15) if options.measure else committed
        if options.measure and options.record:
            write_bytes(RESULTS, (json.dumps(facts, indent=1) + "\n").encode())
        print(text(facts))
    except EdgeCNNError as error:
        print(f"footprint: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
