"""What files that look at mirror images bring and cost, on small bundles whose times are made up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import frontier, mirrored_files
from edgecnn.data import registry
from edgecnn.quantize.recipe import Recipe
from edgecnn.runtime.bundle import open_bundle
from tests import tiny_artifacts
from tests.benchmarks.test_suite import insects


def bundles(folder: Path, recipe: str) -> dict[bool, Path]:
    """A bundle of a recipe, and one whose file of it is the other's float32 file, which is right more often."""
    made = {mirrored: tiny_artifacts.bundle(folder / f"{recipe} {mirrored}") for mirrored in (False, True)}
    for mirrored, path in made.items():
        manifest = open_bundle(path).manifest
        chosen = dataclasses.replace(manifest.artifacts[0 if mirrored else 1], recipe=recipe)
        dataclasses.replace(manifest, recipe=recipe, artifacts=(chosen,)).save(path)
    return made


def test_both_files_are_scored_on_the_same_images_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {recipe: bundles(tmp_path, recipe) for recipe in ("static_w8a8", "static_w4a8")}
    timed = []

    def time_files(files: list[Path], _runs: int, amx_allowed: bool) -> list[float]:
        timed.append(files)
        return [10.0, 19.0]

    def bundle(
        _model: str, _data: str, _cache: Path, formats: list[str], recipe: Recipe, mirrored: bool = False
    ) -> Path:
        assert "tflite" in formats
        return made[recipe.name][mirrored]

    monkeypatch.setattr(mirrored_files, "bundle", bundle)
    monkeypatch.setattr(mirrored_files, "time_files", time_files)
    monkeypatch.setattr(registry, "load", lambda _name: insects())
    rows = list(mirrored_files.measure("lenet", "insects"))
    assert [row["recipe"] for row in rows] == list(made)
    for row, files in zip(rows, timed, strict=True):
        plain, mirrored = made[row["recipe"]][False], made[row["recipe"]][True]
        assert files == [plain / tiny_artifacts.INT8_FILE, mirrored / tiny_artifacts.FLOAT_FILE]
        assert row["bytes"] == [file.stat().st_size for file in files]
        assert (row["images"], row["mirrored"]) == (200, 199)
        assert row["mirrored"] == row["right"] + row["gained"] - row["lost"]
        line = mirrored_files.text([row]).splitlines()[-1]
        assert line.split()[:2] == ["lenet", row["recipe"]] and "99.50 %" in line and line.endswith("1.90 times")


def test_they_are_among_the_networks_that_others_are_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"model": "lenet", "recipe": "static_w8a8", "images": 200, "mirrored": 199, "bytes": [9_000, 9_500]}
    small = row | {"recipe": "static_w4a8", "mirrored": 198, "bytes": [5_000, 5_500]}
    (tmp_path / "rows.json").write_text(json.dumps([row, small]))
    results = dataclasses.replace(mirrored_files.RESULTS, name=str(tmp_path / "rows.json"))
    monkeypatch.setattr(mirrored_files, "RESULTS", results)
    found = frontier.networks(frontier._of_readme())
    smallest, best = [each for each in found if each.mirrored]
    assert (smallest.recipe, smallest.accuracy, smallest.bytes) == ("static_w4a8", 0.99, 5_500)
    assert (best.recipe, best.full_name, best.accuracy, best.bytes) == (
        "static_w8a8",
        "`lenet`, mirrored",
        0.995,
        9_500,
    )
    assert best.macs == 2 * next(each.macs for each in found if each.name == "`lenet`" and not each.mirrored)
