"""The settings that were tried: runs that can tell nothing of them are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import selection
from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.models import ModelArguments
from edgecnn.train import WEIGHTS


def test_a_run_that_held_no_images_out_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = Header("lenet", ModelArguments(), "digits", ("a",), {}, {"test_accuracy": 0.5})
    checkpoint.save(tmp_path / WEIGHTS, header, {"x": torch.ones(1)})
    assert selection.main([str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"selection: error: {tmp_path} was trained without --validation, so nothing")
