"""The table of what each part of a training recipe brings, and which runs are made for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablations import recipe
from benchmarks.committed import Results


def row(variant: str, seed: int, accuracy: float, teacher: str = "") -> dict[str, Any]:
    return {
        "model": "a", "variant": variant, "teacher": teacher, "seed": seed, "epochs": 12, "images": 5000,
        "accuracy": accuracy, "train_accuracy": 0.5 + seed / 10, "seconds": 90.0,
    }  # fmt: skip


def test_a_variant_is_one_line_and_its_changes_are_from_the_same_seeds() -> None:
    rows = [row("cutmix 1", 1, 0.74), row("teacher", 0, 0.77, "big"), row("cutmix 1", 0, 0.75)]
    rows += [row(recipe.AS_IT_IS, 0, 0.76), row(recipe.AS_IT_IS, 1, 0.72), row("AdamW", 2, 0.7)]
    lines = [" ".join(line.split()) for line in recipe.text(rows).splitlines()[2:]]
    assert lines == [
        "a as it is 12 2 74.00 (72.00 to 76.00) +0.00 (+0.00 to +0.00) 55.0 %",
        "a AdamW 12 1 70.00 - 70.0 %",
        "a teacher big 12 1 77.00 +1.00 50.0 %",
        "a cutmix 1 12 2 74.50 (74.00 to 75.00) +0.50 (-1.00 to +2.00) 55.0 %",
    ]


def test_every_variant_is_run_with_every_seed_and_those_with_a_teacher_only_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[str, str, int, Path | None]] = []

    def run(model: str, variant: str, seed: int, weights: Path | None, folder: Path) -> dict[str, Any]:
        made.append((model, variant, seed, weights))
        return row(variant, seed, 0.5, "" if weights is None else "big") | {"model": model}

    monkeypatch.setattr(recipe, "run", run)
    monkeypatch.setattr(recipe, "RESULTS", Results(str(tmp_path / "none.json"), recipe.RESULTS.key, recipe.text))
    words = ["--measure", "--model", "a", "--seed", "0", "1", "--variant", "cutout 8", "teacher"]
    assert recipe.main(words) == 0
    assert made == [("a", "cutout 8", 0, None), ("a", "cutout 8", 1, None)]
    assert "a, teacher, seed 1: left out, since there is no --teacher" in capsys.readouterr().err
    assert recipe.main([*words, "--teacher", "big.safetensors"]) == 0
    assert made[2:] == [
        ("a", "cutout 8", 0, None), ("a", "teacher", 0, Path("big.safetensors")),
        ("a", "cutout 8", 1, None), ("a", "teacher", 1, Path("big.safetensors")),
    ]  # fmt: skip


def test_each_variant_changes_one_thing_of_the_recipe() -> None:
    plain = (changes for changes in recipe.VARIANTS.values() if "optimizer" not in changes)  # which has its own rates
    changed = [set(changes) for changes in plain]
    assert all(len(names) == 1 for names in changed[1:]) and not changed[0]


def test_what_was_taken_out_is_shown_and_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def run(model: str, variant: str, seed: int, weights: Path | None, folder: Path) -> dict[str, Any]:
        made.append(variant)
        return row(variant, seed, 0.5)

    monkeypatch.setattr(recipe, "run", run)
    assert recipe.main(["--measure", "--seed", "0", "--teacher", "big.safetensors"]) == 0
    assert made == list(recipe.VARIANTS)
    shown = capsys.readouterr().out
    assert all(f"mod_cnn  {variant} " in shown for variant in recipe.GONE)
    with pytest.raises(SystemExit, match="2"):
        recipe.main(["--measure", "--variant", recipe.GONE[0]])
    assert "invalid choice: 'mixup 0.2'" in capsys.readouterr().err
