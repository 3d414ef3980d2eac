"""The table of how far longer schedules come, and which runs are made for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.ablations import curve, length
from benchmarks.committed import Results

SVG = "{http://www.w3.org/2000/svg}"


def row(epochs: int, seed: int, accuracy: float, teacher: str = "", optimizer: str = "muon") -> dict[str, Any]:
    return {
        "model": "a", "optimizer": optimizer, "teacher": teacher, "epochs": epochs, "seed": seed,
        "precision": f"float{16 * (seed + 1)}", "images": 5000, "accuracy": accuracy,
        "train_accuracy": 0.5 + seed / 10, "seconds": 90.0,
    }  # fmt: skip


def test_a_length_is_one_line_and_what_it_brings_is_from_half_of_it_with_the_same_seed_optimizer_and_teacher() -> None:
    rows = [row(10, 1, 0.74), row(10, 0, 0.75), row(5, 0, 0.7), row(5, 1, 0.72), row(20, 1, 0.76), row(20, 2, 0.8)]
    rows += [row(10, 0, 0.9, "big"), row(40, 0, 0.6), row(10, 0, 0.65, optimizer="sgd")]
    lines = [" ".join(line.split()) for line in length.text(rows).splitlines()[2:]]
    assert lines == [
        "a muon 5 float16, float32 2 71.00 (70.00 to 72.00) - 55.0 %",
        "a muon 10 float16, float32 2 74.50 (74.00 to 75.00) +3.50 (+2.00 to +5.00) 55.0 %",
        "a muon 20 float32, float48 2 78.00 (76.00 to 80.00) +2.00 65.0 %",
        "a muon 40 float16 1 60.00 - 50.0 %",
        "a muon big 10 float16 1 90.00 - 50.0 %",
        "a sgd 10 float16 1 65.00 - 50.0 %",
    ]


def test_the_shortest_is_run_first_and_with_a_teacher_only_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[int, int, Path | None]] = []

    def run(
        _model: str, optimizer: str, epochs: int, seed: int, precision: str, weights: Path | None, _out: Path
    ) -> dict[str, Any]:
        assert (optimizer, precision) == ("sgd", "float32")
        made.append((epochs, seed, weights))
        return row(epochs, seed, 0.5, "" if weights is None else "big")

    monkeypatch.setattr(length, "run", run)
    monkeypatch.setattr(length, "RESULTS", Results(str(tmp_path / "none.json"), length.RESULTS.key, length.text))
    words = ["--measure", "--model", "a", "--optimizer", "sgd", "--seed", "1", "--epochs", "10", "5"]
    words += ["--precision", "float32"]
    assert length.main(words) == 0
    assert made == [(5, 1, None), (10, 1, None)]
    assert "left out, since there is no --teacher" in capsys.readouterr().err
    assert length.main([*words, "--teacher", "big.safetensors"]) == 0
    big = Path("big.safetensors")
    assert made[2:] == [(5, 1, None), (5, 1, big), (10, 1, None), (10, 1, big)]


def test_the_picture_has_a_line_of_means_for_each_way_of_training() -> None:
    rows = [row(10, 0, 0.75), row(5, 0, 0.7), row(5, 1, 0.72), row(5, 0, 0.8, "big"), row(10, 0, 0.9, "big")]
    picture = ElementTree.fromstring(curve.drawn(rows))
    (told,) = picture.iter(f"{SVG}desc")
    assert told.text == (
        "a, muon, labels alone: 71.00 % in 5 epochs, 75.00 % in 10 epochs; "
        "a, muon, with a teacher: 80.00 % in 5 epochs, 90.00 % in 10 epochs"
    )
    ends = []
    for line in (path.get("d", "") for path in picture.iter(f"{SVG}path") if "curve" in path.get("class", "")):
        begin, end = (tuple(map(float, place.split())) for place in line[1:].split("L"))
        assert begin[0] < end[0] and begin[1] > end[1], "more epochs to the right, more accuracy further up"
        ends.append(end)
    assert ends[0][0] == ends[1][0] and ends[0][1] > ends[1][1]


def test_the_picture_is_up_to_date() -> None:
    drawn = f"{curve.drawn(length.RESULTS.rows())}\n"
    assert curve.PICTURE.read_text("utf-8") == drawn, "run: python -m benchmarks.ablations.curve --write"
