"""What is seen of a training: lines in a file, a bar on a terminal, nothing from the other processes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch

from edgecnn.train.progress import BATCHES_PER_UPDATE, Progress


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, silent: bool = False) -> str:
    """Two of three epochs, 20 batches each, with the loss 1.25 and accuracy 1/2 in a batch."""
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(3, BATCHES_PER_UPDATE, 0, Path("run/checkpoint"), silent=silent) as progress:
        for epoch in (1, 2):
            for batch in range(1, BATCHES_PER_UPDATE + 1):
                progress.batch(torch.tensor(5.0 * batch), torch.tensor(2.0 * batch), 4 * batch)
            row = {"epoch": epoch, "loss": 0.5, "train_accuracy": 0.75, "validation_accuracy": 0.8}
            progress.epoch(row, seconds=7.0)
    return stream.getvalue()


def test_one_line_per_epoch_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert report(io.StringIO(), monkeypatch).splitlines() == [
        "epoch 1/3  loss 0.500  accuracy 0.750  validation 0.8000  14 s left",
        "epoch 2/3  loss 0.500  accuracy 0.750  validation 0.8000  7 s left",
    ]


def test_the_time_left_soon_forgets_that_the_first_epochs_were_slow(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(20, 1, 0, Path("run/checkpoint"), silent=False) as progress:
        for epoch in range(1, 11):
            progress.epoch({"epoch": epoch, "loss": 0.5, "train_accuracy": 0.75}, seconds=60.0 if epoch < 6 else 3.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[4].endswith("900 s left")
    assert lines[-1].endswith(" 30 s left")


def test_a_terminal_gets_a_bar_with_loss_accuracy_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = report(Screen(), monkeypatch)
    assert "loss 1.250  accuracy 0.500" in seen, "within an epoch"
    assert "loss 0.500  accuracy 0.750  validation 0.8000" in seen, "at its end"
    assert "40/60" in seen
    assert "<" in seen, "tqdm's elapsed<remaining"
    assert "epoch 1/3" not in seen


@pytest.mark.parametrize("stream", [Screen, io.StringIO])
def test_a_silent_process_says_nothing(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    assert report(stream(), monkeypatch, silent=True) == ""


@pytest.mark.parametrize(("done", "part"), [(0, "nothing to resume"), (2, "2 of 3 epochs are in run/checkpoint")])
def test_an_interruption_says_what_is_kept(done: int, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Progress(3, 1, done, Path("run/checkpoint"), silent=False):
        raise KeyboardInterrupt
    assert part in capsys.readouterr().err


def test_an_error_is_left_to_those_who_know_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), Progress(3, 1, 2, Path("run/checkpoint"), silent=False):  # noqa: PT011
        raise ValueError
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("earlier", "told"), [(False, "there is nothing to resume"), (True, "go on with --resume")])
def test_one_who_stops_it_early_is_told_whether_there_is_something_to_resume(
    earlier: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with (
        pytest.raises(KeyboardInterrupt),
        Progress(3, 1, 0, Path("run/checkpoint"), silent=False, earlier=earlier),
    ):
        raise KeyboardInterrupt
    assert told in stream.getvalue()
