"""Accuracy for bytes, from committed results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import frontier
from benchmarks.frontier import Network
from benchmarks.peers import NAME
from benchmarks.suite import ACCURACY, BENCH
from benchmarks.summary import Row
from tests.measure.benches import row, session


def test_a_network_is_beaten_by_one_of_no_more_bytes() -> None:
    found = [
        Network("small", 0.8, 100, 1e6),
        Network("worse", 0.7, 200, 1e6, 0.5),
        Network("large", 0.9, 300, 1e6),
    ]
    lines = frontier.text(found).splitlines()[2:]
    assert [line.split(" | ")[-1].strip(" |") for line in lines] == ["yes", "", "yes"]
    assert lines[1] == "| worse | static_w8a8 | 70.00 % | 200 | 1.00 | 0.50 |  |"


def test_of_what_was_pruned_only_what_nothing_beats_is_shown() -> None:
    shipped = [Network("large", 0.9, 300, 1e6), Network("beaten", 0.7, 200, 1e6)]
    pruned = [Network("small", 0.8, 150, 1e6), Network("bad", 0.6, 180, 1e6), Network("no better", 0.9, 310, 1e6)]
    assert [each.name for each in frontier.with_best(shipped, pruned)] == ["small", "beaten", "large"]


def test_the_committed_results_have_a_table_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frontier.main(["--picture", str(tmp_path / "a.png")]) == 0
    shown = capsys.readouterr().out
    peer = "MLPerf Tiny's ResNet-8 | static_w8a8 | 86.97 % | 98,496 | 12.50 | 1.00"
    for name in ("`lenet`", peer, "MLPerf Tiny's IC02"):
        assert name in shown
    sizes = [int(line.split(" | ")[3].replace(",", "")) for line in shown.splitlines()[2:]]
    assert sizes == sorted(sizes)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_results_that_are_not_there_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frontier.main(["--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("frontier: error: ")


def test_a_network_that_was_scored_and_not_timed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session(row(model=NAME, recipe="static_w8a8")).save(tmp_path / BENCH)
    scored = Row("lenet", "cifar10", 10_000, 0.7, 0.7, 0.0, (-0.2, 0.2), 0.98, "static_w8a8")
    (tmp_path / ACCURACY).write_text(json.dumps([dataclasses.asdict(scored)]))
    assert frontier.main(["--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"frontier: error: {tmp_path / BENCH} has no run of lenet static_w8a8; run benchmarks.suite again\n"
    )
