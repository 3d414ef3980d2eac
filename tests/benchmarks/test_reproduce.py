"""How the shipped weights are made again: what the table says, and that no header leaves a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import reproduce
from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.models import ModelArguments

SHIPPED = sorted(checkpoint.shipped_folder().glob("*/*.safetensors"))


def training(seconds: float) -> dict[str, Any]:
    return {"device": "a CPU", "threads": 1, "processes": 1, "epochs": 3, "seconds": seconds}


def write(folder: Path, name: str, recipe: dict[str, Any], value: float = 0.0, **more: Any) -> None:
    metrics = {"test_accuracy": 0.5, "static_w8a8_accuracy": 0.25}
    header = Header("lenet", ModelArguments(), "d", ("a",), recipe, metrics, training(1800), f"make {name}", **more)
    checkpoint.save(folder / "d" / f"{name}.safetensors", header, {"x": torch.full((1,), value)})


def rows(folder: Path) -> tuple[list[str], str]:
    """The lines of the table below its head, and the sentence below them."""
    *table, _, last = reproduce.text("d", reproduce.shipped("d", folder)).splitlines()
    return table[2:], last


def test_teachers_come_first_each_once_and_their_time_counts_once(tmp_path: Path) -> None:
    first = {"recipe": {}, "metrics": {"test_accuracy": 0.75}, "training": training(3600), "command": "make it"}
    second = {**first, "recipe": {"teacher": "1" * 64, "distillation": 0.5}, "command": "make it too", "teacher": first}
    taught = {"teacher": "2" * 64, "distillation": 1.0}
    write(tmp_path, "b", taught, teacher=second)
    write(tmp_path, "c", taught | {"distillation": 0.9}, teacher=second)
    table, last = rows(tmp_path)
    assert table == [
        "| teacher `11111111` | labels | 75.00 % | 3 | 60.0 min | `make it` |",
        "| teacher `22222222` | labels, teacher `11111111` | 75.00 % | 3 | 60.0 min | `make it too` |",
        "| `b` | teacher `22222222` | 50.00 % | 3 | 30.0 min | `make b` |",
        "| `c` | labels, teacher `22222222` | 50.00 % | 3 | 30.0 min | `make c` |",
    ]
    assert last == "All of d, one after another: 3.0 hours on a CPU (1 thread)."


def test_a_teacher_that_ships_has_its_name_and_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "a", {})
    (teacher,) = reproduce.shipped("d", tmp_path)
    write(tmp_path, "b", {"teacher": teacher.digest, "distillation": 0.5}, teacher=teacher.header.origin, value=1.0)
    table, last = rows(tmp_path)
    assert table == [
        "| `a` | labels | 50.00 % | 3 | 30.0 min | `make a` |",
        "| `b` | labels, teacher `a` | 50.00 % | 3 | 30.0 min | `make b` |",
    ]
    assert last == "All of d, one after another: 1.0 hours on a CPU (1 thread)."


def test_several_teachers_are_listed_one_by_one(tmp_path: Path) -> None:
    made = {"recipe": {}, "metrics": {"test_accuracy": 0.75}, "training": training(3600)}
    one, two = made | {"command": "make one"}, made | {"command": "make two"}
    write(tmp_path, "a", {})
    (ships,) = reproduce.shipped("d", tmp_path)
    taught = {"teacher": "+".join(["1" * 64, ships.digest, "2" * 64]), "distillation": 0.5, "weights": "1" * 64}
    known = {"together": [one, ships.header.origin, two]}
    write(tmp_path, "b", taught, teacher=known, start=one, value=1.0)
    table, last = rows(tmp_path)
    assert sorted(table[:2]) == [
        "| teacher `22222222` | labels | 75.00 % | 3 | 60.0 min | `make two` |",
        "| weights `11111111` | labels | 75.00 % | 3 | 60.0 min | `make one` |",
    ]
    assert table[2:] == [
        "| `a` | labels | 50.00 % | 3 | 30.0 min | `make a` |",
        "| `b` | labels, teacher `11111111`, teacher `a`, teacher `22222222`, weights `11111111` | 50.00 % | 3 "
        "| 30.0 min | `make b` |",
    ]
    assert last == "All of d, one after another: 3.0 hours on a CPU (1 thread)."


def test_weights_that_were_gone_on_from_are_listed_with_what_made_them(tmp_path: Path) -> None:
    made = {"metrics": {"test_accuracy": 0.75}, "training": training(3600)}
    teacher = made | {"recipe": {}, "command": "make a teacher"}
    first = made | {"recipe": {"teacher": "1" * 64}, "command": "begin", "teacher": teacher}
    write(tmp_path, "b", {"weights": "2" * 64}, start=first)
    table, last = rows(tmp_path)
    assert table == [
        "| teacher `11111111` | labels | 75.00 % | 3 | 60.0 min | `make a teacher` |",
        "| weights `22222222` | labels, teacher `11111111` | 75.00 % | 3 | 60.0 min | `begin` |",
        "| `b` | labels, weights `22222222` | 50.00 % | 3 | 30.0 min | `make b` |",
    ]
    assert last == "All of d, one after another: 2.5 hours on a CPU (1 thread)."


def test_weights_for_quantization_come_last_and_count_by_their_file(tmp_path: Path) -> None:
    write(tmp_path, "a.static_w8a8", {"distillation": 0.5}, quantization={"recipe_name": "static_w8a8"})
    write(tmp_path, "b", {})
    table, _ = rows(tmp_path)
    assert table == [
        "| `b` | labels | 50.00 % | 3 | 30.0 min | `make b` |",
        "| `a.static_w8a8` | labels, float32 weights | 25.00 % | 3 | 30.0 min | `make a.static_w8a8` |",
    ]


def test_pruned_weights_come_behind_the_whole_and_are_made_from_such(tmp_path: Path) -> None:
    pruning = {"target": "macs:0.5", "float_weights": "2" * 64}
    made = {"recipe": {}, "metrics": {"test_accuracy": 0.75}, "training": training(3600), "command": "make the whole"}
    write(tmp_path, "a.macs0.5", {"pruning": pruning}, start=made)
    write(tmp_path, "b", {})
    table, last = rows(tmp_path)
    assert table == [
        "| weights `22222222` | labels | 75.00 % | 3 | 60.0 min | `make the whole` |",
        "| `b` | labels | 50.00 % | 3 | 30.0 min | `make b` |",
        "| `a.macs0.5` | labels, weights `22222222` | 50.00 % | 3 | 30.0 min | `make a.macs0.5` |",
    ]
    assert last == "All of d, one after another: 2.0 hours on a CPU (1 thread)."


def test_a_teacher_of_which_nothing_was_recorded_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a", {"teacher": "3" * 64, "distillation": 0.5})
    table, last = rows(tmp_path)
    assert table[0] == "| teacher `33333333` | unknown | unknown | unknown | unknown | unknown |"
    assert last == "All of d, one after another: unknown, since nothing is known of 1 network learned from."


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(checkpoint.shipped_folder())))
def test_what_ships_says_how_it_and_its_teacher_are_made(path: Path) -> None:
    header, _ = checkpoint.load(path)
    origins = reproduce.made_from(header.recipe, header.teacher, header.start)
    commands = [header.command, *(origin.get("command", "") for _, _, origin in origins)]
    assert all(command.startswith("edgecnn ") and " /" not in command for command in commands)


def test_data_of_which_nothing_ships_is_refused() -> None:
    with pytest.raises(SystemExit) as refused:
        reproduce.main(["--data", "nowhere"])
    assert refused.value.code == 2
