"""The table of what training under quantization brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import qat
from benchmarks.qat import main, text
from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.train import WEIGHTS


def row(model: str, seed: int, trained: float, agreement: float, quantize_ops: int = 0) -> dict[str, Any]:
    return {
        "model": model, "recipe": "static_w8a8", "seed": seed, "epochs": 3, "float32": 0.75,
        "calibrated": 0.74, "trained": trained,
        "change": 100 * (trained - 0.75), "agreement_with_simulation": agreement, "quantize_ops": quantize_ops,
        "seconds": 60.0 * (seed + 1),
    }  # fmt: skip


def test_a_model_is_one_line_with_the_mean_of_its_seeds_and_the_worst_of_what_must_hold() -> None:
    rows = [row("a", 0, 0.76, 0.99), row("a", 1, 0.74, 0.98), row("a", 2, 0.765, 0.995, 1), row("b", 0, 0.75, 1.0)]
    first, second = (" ".join(line.split()) for line in text(rows).splitlines()[2:])
    assert first == "a static_w8a8 75.00 % 74.00 % 75.50 % (74.00 to 76.50) +0.50 -1.00 98.00 % 1 3 2.0 min"
    assert second == "b static_w8a8 75.00 % 74.00 % 75.00 % (75.00 to 75.00) +0.00 +0.00 100.00 % 0 3 1.0 min"


def test_a_model_that_is_not_trained_so_is_refused() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--model", "edge_s"])
    assert refused.value.code == 2


def test_a_run_of_another_precision_is_not_shown_as_the_one_that_was_asked_for(tmp_path: Path) -> None:
    header = Header("lenet", ModelArguments(), "cifar10", ("a",), {"precision": "bfloat16"}, {})
    checkpoint.save(tmp_path / "lenet-0" / WEIGHTS, header, {"x": torch.ones(1)})
    (tmp_path / "lenet-0.json").write_text("{}")  # what was said then
    with pytest.raises(UsageError, match="lenet-0 was trained in bfloat16; give --precision bfloat16, or another"):
        qat.run("lenet", "static_w8a8", 0, "float32", tmp_path)
