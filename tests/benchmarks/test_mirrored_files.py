"""What files that look at mirror images bring and cost, on small bundles whose times are made up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import frontier, mirrored_files
from edgecnn.data import registry
from edgecnn.runtime.bundle import open_bundle
from tests import tiny_artifacts
from tests.benchmarks.test_suite import insects


def bundles(folder: Path) -> dict[bool, Path]:
    """A bundle, and one whose static_w8a8 file is the other's float32 file, which is right more often."""
    made = {mirrored: tiny_artifacts.bundle(folder / str(mirrored)) for mirrored in (False, True)}
    manifest = open_bundle(made[True]).manifest
    best = dataclasses.replace(manifest.artifacts[0], recipe="static_w8a8")
    dataclasses.replace(manifest, artifacts=(best,)).save(made[True])
    return made


def test_both_files_are_scored_on_the_same_images_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, timed = bundles(tmp_path), []

    def time_files(files: list[Path], _runs: int, amx_allowed: bool) -> list[float]:
        timed.extend(files)
        return [10.0, 19.0]

    monkeypatch.setattr(mirrored_files, "bundle", lambda *_words, mirrored=False: made[mirrored])
    monkeypatch.setattr(mirrored_files, "time_files", time_files)
    monkeypatch.setattr(registry, "load", lambda _name: insects())
    (row,) = mirrored_files.measure("lenet", "insects")
    files = [made[False] / tiny_artifacts.INT8_FILE, made[True] / tiny_artifacts.FLOAT_FILE]
    assert timed == files and row["bytes"] == [file.stat().st_size for file in files]
    assert (row["images"], row["mirrored"]) == (200, 199)
    assert row["mirrored"] == row["right"] + row["gained"] - row["lost"]
    line = mirrored_files.text([row]).splitlines()[-1]
    assert line.split()[:1] == ["lenet"] and "99.50 %" in line and line.endswith("1.90 times")


def test_they_are_among_the_networks_that_others_are_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"model": "lenet", "images": 200, "mirrored": 199, "bytes": [9_000, 9_500]}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    results = dataclasses.replace(mirrored_files.RESULTS, name=str(tmp_path / "rows.json"))
    monkeypatch.setattr(mirrored_files, "RESULTS", results)
    found = frontier.networks(frontier._of_readme())
    (best,) = [each for each in found if each.mirrored]
    assert (best.full_name, best.accuracy, best.bytes) == ("`lenet`, mirrored", 0.995, 9_500)
    assert best.macs == 2 * next(each.macs for each in found if each.name == "`lenet`" and not each.mirrored)
