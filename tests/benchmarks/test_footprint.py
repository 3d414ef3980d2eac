"""What edgecnn takes on a device: the parts of the gate that need no installation, and the gate itself."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import footprint
from tests import tiny_artifacts

COMMITTED = json.loads(footprint.RESULTS.read_text("utf-8"))


def ask(*words: object) -> Any:
    """The child's answer, with this checkout."""
    line = [sys.executable, "-P", str(footprint.CHILD), *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(footprint.ROOT)}
    run = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, pixels in zip(paths, tiny_artifacts.images(3), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def test_the_command_line_and_classify_import_what_they_did(folder: Path, pictures: list[Path]) -> None:
    runs: dict[str, list[object]] = {"edgecnn --help": ["--help"]}
    runs["edgecnn classify"] = ["classify", folder, pictures[0]]
    for name, words in runs.items():
        facts, before = ask("modules", *words), COMMITTED["modules"][name]
        assert facts["code"] == before["code"] == 0
        assert set(facts["packages"]) | {"edgecnn"} == set(before["packages"])
        assert facts["modules"] <= 1.1 * before["modules"]


def test_memory_does_not_grow(folder: Path, pictures: list[Path]) -> None:
    rows = dict(ask("growth", 5000, folder, *pictures))
    assert list(rows) == [500, *range(1000, 5001, 500)]
    assert rows[5000] - rows[1000] < footprint.GROWTH


def test_the_ten_lines_name_the_class_that_edgecnn_does(folder: Path, pictures: list[Path]) -> None:
    file = folder / tiny_artifacts.INT8_FILE
    run = subprocess.run([sys.executable, footprint.SCRIPT, file, *pictures], capture_output=True, text=True)
    truth = tiny_artifacts.logits(tiny_artifacts.images(3), tiny_artifacts.weights()).argmax(1)
    assert run.stdout.splitlines() == [f"{path} {number}" for path, number in zip(pictures, truth, strict=True)]


def test_times_are_of_both_and_of_the_engine_alone(folder: Path, pictures: list[Path]) -> None:
    took = ask("overhead", 60, folder)
    assert took.keys() == {"edgecnn", "ten_lines", "runner", "invoke"}
    assert min(took.values()) > 0
    assert ask("verb", 5, folder, *pictures) > ask("script", 5, folder / tiny_artifacts.INT8_FILE, *pictures) > 1e7


def test_the_committed_results_reach_the_goals() -> None:
    assert footprint.problems(COMMITTED, COMMITTED) == []
    assert footprint.overhead(COMMITTED) <= 5
    assert COMMITTED["growth"][-1][0] == 100_000
    assert COMMITTED["modules"]["edgecnn --help"]["packages"] == ["click", "edgecnn"]


def more(name: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        facts[name]["edgecnn classify"] *= factor

    return change


def larger(facts: dict[str, Any]) -> None:
    facts["packages"].append({"package": "torch", "version": "2", "bytes": 10**9})


def importing(facts: dict[str, Any]) -> None:
    facts["modules"]["edgecnn --help"]["packages"].append("numpy")


def growing(facts: dict[str, Any]) -> None:
    facts["growth"][-1][1] += footprint.GROWTH


def slower(facts: dict[str, Any]) -> None:
    facts["microseconds"]["edgecnn"] += footprint.OVERHEAD


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (larger, "the light install is 1,.* bytes, and was "),
        (importing, "edgecnn --help imports numpy, which it did not"),
        (more("memory", 1.2), "classify takes .* times the ten lines' memory, and took "),
        (growing, "memory grows by .* bytes over 100,000 images"),
        (slower, "an image takes .* us more than in ten lines, at most 20 are allowed"),
        (more("cold_start_cpu_ms", 3), "a cold start takes .* times the CPU of ten lines, at most 3 are allowed"),
    ],
)
def test_what_is_worse_does_not_get_through(
    change: Callable[[dict[str, Any]], None], line: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    now = copy.deepcopy(COMMITTED)
    change(now)
    monkeypatch.setattr(footprint, "measure", lambda *_times: now)
    assert footprint.main(["--check"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert re.match(f"footprint: error: {line}", said)


def test_bytes_on_disk_are_those_of_one_kind_of_machine(capsys: pytest.CaptureFixture[str]) -> None:
    now = copy.deepcopy(COMMITTED)
    larger(now)
    now["machine"]["architecture"] = "aarch64"
    assert footprint.problems(now, COMMITTED) == []
    assert "bytes on disk are not compared" in capsys.readouterr().err


def test_nothing_is_recorded_that_was_not_measured() -> None:
    with pytest.raises(SystemExit) as refused:
        footprint.main(["--record"])
    assert refused.value.code == 2
