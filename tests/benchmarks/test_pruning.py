"""The table of what pruning costs and saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import pruning
from benchmarks.pruning import ship, text
from edgecnn import checkpoint
from edgecnn.checkpoint import Header, included
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.train import WEIGHTS


def row(met: bool, teacher: str = "", **more: float) -> dict[str, Any]:
    shares = {"macs": 0.4987, "parameters": 0.41, "bytes": 0.55, "latency_us": 0.6251}
    return {
        "model": "a", "target": "macs:0.5", "met": met, "teacher": teacher, "shares": shares,
        "float32": 0.75, "pruned": 0.745, "static_w8a8_before": 0.748, "static_w8a8": 0.7425,
        "epochs": 60, "seconds": 630.0, **more,
    }  # fmt: skip


def test_a_run_is_one_line_with_shares_and_changes_in_points() -> None:
    met, missed = (
        " ".join(line.split()) for line in text([row(True), row(False, "edge_l", static_w4a8=0.7)]).splitlines()[2:]
    )
    figures = "0.499 0.410 0.550 0.625 75.00 % 74.50 % -0.50 74.80 % 74.25 % -0.55"
    assert met == f"a macs:0.5 itself {figures} - 60 10.5 min"
    assert missed == f"a macs:0.5 (missed) edge_l {figures} 70.00 % 60 10.5 min"


def test_what_ships_says_how_accurate_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(included, "shipped_folder", lambda: tmp_path / "weights")
    recipe = {"pruning": {"target": "macs:0.5"}}
    header = Header("lenet", ModelArguments(), "digits", ("a",), recipe, {"test_accuracy": 0.75})
    checkpoint.save(tmp_path / "run" / WEIGHTS, header, {"x": torch.ones(1)})
    ship(tmp_path / "run", 0.7)
    path = checkpoint.shipped("lenet", "digits", "macs:0.5")
    assert path is not None
    found, tensors = checkpoint.load(path)
    assert found.metrics == {"test_accuracy": 0.75, "static_w8a8_accuracy": 0.7}
    assert tensors["x"].tolist() == [1.0]


def test_a_run_from_weights_that_shipped_before_is_not_held_against_those_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"pruning": {"float_weights": "0" * 64}}
    header = Header("lenet", ModelArguments(), "cifar10", ("a",), recipe, {})
    checkpoint.save(tmp_path / "run" / WEIGHTS, header, {"x": torch.ones(1)})
    (tmp_path / "run.json").write_text("{}")  # what was said then
    with pytest.raises(UsageError, match="run was pruned from other weights of lenet than ship now"):
        pruning.run("lenet", "macs:0.5", [], tmp_path / "run")
