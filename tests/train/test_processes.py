"""Two processes that torchrun starts train one model together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

import edgecnn
from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.models import registry
from edgecnn.train import CHECKPOINT, CURVE, WEIGHTS
from edgecnn.train.processes import Processes, joined
from edgecnn.train.views import VARIABLE
from tests.train import each_process, small

ROOT = Path(edgecnn.__file__).parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
EACH = ["-m", "tests.train.each_process"]
# Without augmentation two processes compute what one does, but for the order of sums.
WORDS = ["train", "--model", "watched", "--data", "digits", "--device", "cpu", "--shift", "0", "--no-flip"]
WORDS += ["--epochs", "2"]


def torchrun(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
    """Two processes, and the note each of them left in ``folder``."""
    run = subprocess.run(
        [*TORCHRUN, *EACH, str(folder), *WORDS, *words],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run, [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_train_as_one_and_one_of_them_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.names()
    known = dict(registry._FACTORIES)
    monkeypatch.setattr(registry, "_FACTORIES", known | {"watched": each_process.watched})
    run, notes = torchrun(tmp_path, "--batch-size", "64", "--out", str(tmp_path / "two"), "--json")
    assert [note["code"] for note in notes] == [0, 0]
    assert notes[0]["weights"] == notes[1]["weights"], "the same weights and statistics in both"
    assert not any(note["in_a_group"] for note in notes)
    document = json.loads(run.stdout)
    assert document["training"]["processes"] == 2
    assert sorted(os.listdir(tmp_path / "two")) == small.FILES
    assert [note["written"] for note in notes] == [[CHECKPOINT, CURVE, CHECKPOINT, CURVE, WEIGHTS], []]
    epochs = [line.partition("  ")[0] for line in run.stderr.splitlines() if line.startswith("epoch")]
    assert epochs == ["epoch 1/2", "epoch 2/2"], "one of them reports"
    assert "warn" not in run.stderr.lower()
    assert "process_group" not in run.stderr, "the group is left"

    assert main([*WORDS, "--batch-size", "64", "--out", str(tmp_path / "one")]) == 0
    one, two = small.tensors(tmp_path / "one"), small.tensors(tmp_path / "two")
    for name in one:
        if "watch" not in name:
            torch.testing.assert_close(two[name], one[name], atol=1e-4, rtol=0)
    # Each epoch leaves out the last 3 of 1,347 images; the first process saw half of the others.
    assert two["watch.num_batches_tracked"] == one["watch.num_batches_tracked"] == 2 * (1347 // 64)
    alone = checkpoint.load(tmp_path / "one" / WEIGHTS)[0].metrics
    assert document["metrics"]["test_images"] == alone["test_images"] == 450
    assert document["metrics"]["test_accuracy"] == pytest.approx(alone["test_accuracy"], abs=0.01)
    assert document["metrics"]["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-3)
    assert len((tmp_path / "two" / CURVE).read_text().splitlines()) == 3


def test_two_processes_share_what_a_teacher_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = ["--teacher", "lenet", "--views", "1", "--flip", "--epochs", "1"]
    monkeypatch.setenv(VARIABLE, str(tmp_path / "of_two"))
    _, notes = torchrun(tmp_path, *taught, "--out", str(tmp_path / "two"))
    assert [note["code"] for note in notes] == [0, 0]
    assert [note["written"] for note in notes] == [["0.safetensors", CHECKPOINT, CURVE, WEIGHTS], []]
    assert notes[0]["weights"] == notes[1]["weights"]

    monkeypatch.setenv(VARIABLE, str(tmp_path / "of_one"))
    assert main([*WORDS, "--model", "lenet", *taught, "--out", str(tmp_path / "one")]) == 0
    both, alone = ((tmp_path / folder).glob("answers/*/0.safetensors") for folder in ("of_two", "of_one"))
    (of_two,), (of_one,) = ([load(path.read_bytes())["logits"] for path in paths] for paths in (both, alone))
    torch.testing.assert_close(of_two, of_one, atol=0.02, rtol=0)
    assert of_one.std() > 1, "they say something"


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    run, notes = torchrun(tmp_path, "--batch-size", "63", "--out", str(tmp_path / "run"))
    assert [note["code"] for note in notes] == [2, 2]
    message = "edgecnn: error: batch size 63 cannot be shared by 2 processes; choose a multiple of 2"
    assert run.stderr.count(message) == 2
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "run").exists()


def test_shares_make_up_the_batch() -> None:
    batch = torch.arange(12)
    shares = [Processes(rank, 3).share(batch) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert torch.cat(shares).sort().values.equal(batch)


def test_alone_by_default() -> None:
    with joined(torch.device("cpu")) as processes:
        assert processes == Processes(0, 1)
        assert processes.first
    model = torch.nn.Linear(1, 1)
    assert processes.parallel(model, torch.device("cpu")) is model
