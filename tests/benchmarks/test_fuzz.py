"""A short run of the fuzzer, what earlier runs found, and that it would notice a main process that comes to harm."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fuzz, mutations
from edgecnn.errors import BadFileError
from edgecnn.runtime.picture import BadPictureError, decode
from edgecnn.runtime.tflite_verifier import verify
from tests import tiny_artifacts

FOUND = Path(__file__).parent / "found"


def run(tmp_path: Path, *words: str, cases: int) -> dict:
    """Not in this process: what it has loaded would count against the limits."""
    command = [sys.executable, "-m", "benchmarks.fuzz", str(tmp_path / "state.json"), *words, "--cases", str(cases)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((tmp_path / "state.json").read_text())


def test_the_main_process_comes_through_bad_images_and_goes_on_where_it_was(tmp_path) -> None:
    run(tmp_path, cases=100)
    state = run(tmp_path, cases=200)
    assert state["next"] == sum(state["outcomes"].values()) == 200
    assert 50 < state["outcomes"]["loaded"] < 150
    assert 0 < state["peak_bytes"] < fuzz.MEMORY
    assert state["bad"] == []


def test_the_main_process_comes_through_bad_bundles(tmp_path) -> None:
    bundle = tiny_artifacts.bundle(tmp_path / "b")
    state = run(tmp_path, str(bundle), cases=150)
    assert state["next"] == sum(state["outcomes"].values()) == 150
    assert 1 < state["outcomes"]["loaded"] < 75
    assert not (tmp_path / "state").exists(), "no mutant ended a child"


def crash(index: int) -> tuple[str, bytes]:
    if index == 3:
        os.abort()
    return "loaded", b""


def hang(index: int) -> tuple[str, bytes]:
    if index == 3:
        time.sleep(60)
    return "loaded", b""


def grab(index: int) -> tuple[str, bytes]:
    if index == 3:
        len(b"x" * (400 << 20))
    return "loaded", b""


@pytest.mark.parametrize(
    ("case", "failure"), [(crash, "MAIN died of 6"), (hang, "MAIN hung"), (grab, "MAIN held too much memory")]
)
def test_a_main_process_that_comes_to_harm_is_noticed(tmp_path, monkeypatch, case, failure: str) -> None:
    monkeypatch.setattr(fuzz, "PATIENCE", 5.0 if case is hang else 60.0)
    monkeypatch.setattr(fuzz, "MEMORY", 0 if case is grab else 1 << 40)
    state: dict[str, Any] = {"next": 0, "peak_bytes": 0, "outcomes": {}, "bad": []}
    fuzz.fuzz(case, state, 6, tmp_path, lambda: None)
    assert state["outcomes"][failure] == (6 if case is grab else 1)
    assert case is not grab or state["peak_bytes"] > 400 << 20
    assert state["next"] == 6


def test_mutants_are_the_same_for_the_same_seed() -> None:
    good = mutations.pictures()
    name = sorted(good)[0]
    one, two, other = (mutations.picture(name, good[name], random.Random(seed)) for seed in (1, 1, 2))
    assert one == two != other


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.tflite")), ids=lambda path: path.name)
def test_files_that_once_came_through_are_refused(path: Path) -> None:
    with pytest.raises(BadFileError, match="is damaged"):
        verify(path.read_bytes())


UNREADABLE_EXIF = FOUND / "4324.see.png.image"  # whose pixels are sound


def test_a_picture_that_was_found_with_exif_data_of_nonsense_is_a_picture(tmp_path: Path) -> None:
    shutil.copy(UNREADABLE_EXIF, tmp_path / "x")
    assert decode(tmp_path / "x", (52, 70, 3)).std() > 1


@pytest.mark.parametrize("path", sorted({*FOUND.glob("*.image")} - {UNREADABLE_EXIF}), ids=lambda path: path.name)
def test_images_that_were_found_are_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / "x")
    with pytest.raises(BadPictureError) as caught:
        decode(tmp_path / "x", (8, 8, 3))
    assert caught.value.reason.isprintable()
