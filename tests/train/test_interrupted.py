"""Trainings in processes of their own that are killed or interrupted, on the digits, through the command line."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.train import CHECKPOINT, CURVE, WEIGHTS
from tests.train import small
from tests.train.interrupted import child, first_epoch

WORDS = ["train", "--model", "depthwise", "--data", "digits", "--batch-size", "64", "--device", "cpu", "--cutout", "4"]


@pytest.mark.usefixtures("one_thread")
def test_a_run_killed_in_an_epoch_and_resumed_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with child(*WORDS, "--epochs", "3", "--out", str(parts)) as process:
        first_epoch(process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert sorted(os.listdir(parts)) == [CHECKPOINT, CURVE], "killed before the end"
    assert checkpoint.load(parts / CHECKPOINT)[0].training["epochs"] in (1, 2)
    assert main([*WORDS, "--epochs", "3", "--out", str(parts), "--resume"]) == 0
    assert main([*WORDS, "--epochs", "3", "--out", str(whole)]) == 0
    assert small.same(small.tensors(whole), small.tensors(parts))
    assert checkpoint.load(whole / WEIGHTS)[0].metrics == checkpoint.load(parts / WEIGHTS)[0].metrics


def test_control_c_keeps_the_last_epoch_and_says_how_to_go_on(tmp_path: Path) -> None:
    with child(*WORDS, "--epochs", "50", "--out", str(tmp_path)) as process:
        first_epoch(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    done = checkpoint.load(tmp_path / CHECKPOINT)[0].training["epochs"]
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-2:] == [
        f"stopped; {done} of 50 epochs are in {tmp_path / CHECKPOINT}: go on with --resume",
        "edgecnn: interrupted",
    ]
    assert not (tmp_path / WEIGHTS).exists()
