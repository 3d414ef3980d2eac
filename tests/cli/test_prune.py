"""``edgecnn prune`` on the digits: what comes out, what its weights are good for, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn import checkpoint
from edgecnn.cli import prune as verb
from edgecnn.cli.main import main
from edgecnn.export import weigh
from edgecnn.export.drafts import Order
from edgecnn.export.source import Source
from edgecnn.models import cost
from edgecnn.prune.iterate import PLAN
from edgecnn.runtime.bundle import open_bundle
from edgecnn.train import WEIGHTS
from tests.measure.scripted_costs import ScriptedCosts
from tests.train import small
from tests.train.interrupted import child, first_epoch

MODEL = ["--model", "lenet", "--data", "digits"]
QUICK = ["--epochs", "1", "--batch-size", "64", "--device", "cpu"]
WORDS = [*MODEL, "--target", "macs:0.5", "--steps", "1", *QUICK]

pytestmark = pytest.mark.usefixtures("stored_conversions")


def by_bytes(path: Path) -> float:
    return path.stat().st_size / 1000


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> ScriptedCosts:
    """Times are what files weigh, in kB."""
    costs = ScriptedCosts(by_bytes)
    monkeypatch.setattr(verb, "timer", lambda say: costs)
    return costs


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that a refused command leaves."""
    assert main(["prune", *map(str, words)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("edgecnn: error: ")
    return err.removeprefix("edgecnn: error: ")


def test_half_the_macs_are_left_and_the_weights_are_good_for_all_that_takes_weights(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, timer: ScriptedCosts
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prune", *WORDS, "--json"]) == 0
    out, err = capfd.readouterr()
    assert "step 1 of 1: 48.1% of the MACs" in err
    document: dict[str, Any] = json.loads(out)
    run = Path("runs/lenet-digits-macs0.5")
    assert document["weights"] == str(run / WEIGHTS)
    header, _ = checkpoint.load(run / WEIGHTS)
    assert header.command == "edgecnn prune --model lenet --data digits --target macs:0.5 --steps 1 --epochs 1 " + (
        "--batch-size 64 --device cpu"
    )
    assert (header.pruned_to, header.start["command"]) == ("macs:0.5", checkpoint.all_shipped("lenet")[1][1].command)
    assert document["widths"] == {name: list(pair) for name, pair in header.widths.items()}
    assert document["unpruned"]["macs"] == 651_720
    assert document["pruned"]["macs"] == round(651_720 * document["shares"]["macs"])
    assert 0.45 < document["shares"]["macs"] <= 0.5
    assert document["met"]
    assert document["judged_on"] == "test"
    assert document["pruned"]["accuracy"] == header.metrics["test_accuracy"] > 0.9
    assert document["unpruned"]["accuracy"] > 0.98
    # What was weighed is what quantize makes of the weights.
    words = ["quantize", *MODEL, "--weights", str(run / WEIGHTS), "--format", "tflite", "--out", "bundle"]
    assert main(words) == 0
    bundle = open_bundle(Path("bundle"))
    assert bundle.artifact().bytes == document["pruned"]["bytes"] < document["unpruned"]["bytes"]
    assert bundle.manifest.model.macs == document["pruned"]["macs"]
    assert bundle.manifest.model.parameters == document["pruned"]["parameters"]
    capfd.readouterr()
    # Done already: nothing is trained again, and a person gets a table.
    assert main(["prune", *WORDS, "--resume"]) == 0
    out, err = capfd.readouterr()
    assert "epoch" not in err
    lines = [line.split("  ")[0] for line in out.splitlines()]
    assert lines[2:7] == [
        "test accuracy, float32", "MACs", "parameters", "bytes, static_w8a8", "microseconds, static_w8a8",
    ]  # fmt: skip
    assert out.splitlines()[-2:] == ["target macs:0.5 met: 0.481", f"weights {run / WEIGHTS}"]


def test_pruned_weights_are_trained_for_quantization_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, timer: ScriptedCosts
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prune", *WORDS]) == 0
    weights = ["--weights", str(Path("runs/lenet-digits-macs0.5") / WEIGHTS), "--format", "tflite"]
    for more in (["--qat", *QUICK], ["--qat-weights", f"runs/lenet-digits-macs0.5-qat/{WEIGHTS}", "--out", "again"]):
        assert main(["quantize", *MODEL, *weights, *more]) == 0
    first, again = (open_bundle(Path(name)) for name in ("lenet-digits-macs0.5-static_w8a8-qat", "again"))
    assert first.artifact().sha256 == again.artifact().sha256
    # They fit no other network.
    capfd.readouterr()
    words = ["--qat-weights", f"runs/lenet-digits-macs0.5-qat/{WEIGHTS}", "--format", "tflite", "--out", "other"]
    assert main(["quantize", *MODEL, *words]) == 2
    assert "was trained from other float weights than these" in capfd.readouterr().err


def test_bytes_are_met_by_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str], timer: ScriptedCosts) -> None:
    words = [*MODEL, "--target", "bytes:0.6", "--steps", "1", *QUICK, "--out", str(tmp_path / "run"), "--json"]
    assert main(["prune", *words]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["met"]
    assert 0.5 < document["shares"]["bytes"] <= 0.6
    assert min(abs(trial["cost"] - document["shares"]["bytes"]) for trial in document["trials"]) < 0.001
    assert not timer.decided


def test_a_latency_that_the_last_measurement_does_not_confirm_is_said_to_be_missed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, timer: ScriptedCosts
) -> None:
    def sketch(order: Order, source: Source) -> Any:  # as large as the work it stands for, and no model
        return SimpleNamespace(content=bytes(cost.macs(source.model, source.arguments) // 1000))

    monkeypatch.setattr(weigh, "make", sketch)
    final = {"whole": 10.0, "other": 6.5}
    timer.cost = lambda path: final.get(path.stem.split("_")[0], path.stat().st_size)
    timer.doubts = ("the machine was busy",)
    words = [*MODEL, "--target", "latency:0.6", "--steps", "1", *QUICK, "--out", str(tmp_path / "run")]
    assert main(["prune", *words]) == 1
    out, err = capfd.readouterr()
    last = err.splitlines()[-1]
    assert last.startswith("edgecnn: error: target latency:0.6 was missed by the last measurement: 0.650")
    said = re.findall(r"of the MACs: (.*) % of the latency", err.replace("%", " %"))
    assert any(50 < float(each) <= 60 for each in said)
    assert out.splitlines()[-3:-1] == ["doubt: the machine was busy", "target latency:0.6 missed: 0.650"]
    assert timer.decided


@pytest.mark.usefixtures("one_thread", "timer")
def test_control_c_in_the_training_leaves_a_run_that_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    words = ["prune", *MODEL, "--target", "macs:0.5", "--steps", "1", "--batch-size", "64", "--device", "cpu"]
    words += ["--epochs", "3"]
    parts = tmp_path / "parts"
    with child(*words, "--out", str(parts)) as process:
        first_epoch(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert re.search(r"^stopped; [1-3] of 3 epochs are in .*: go on with --resume\n", err, re.M)
    assert sorted(os.listdir(parts)) == [PLAN, "step-1"]
    for more in (["--out", str(parts), "--resume"], ["--out", str(tmp_path / "whole")]):
        assert main([*words, *more]) == 0
    assert small.same(small.tensors(parts), small.tensors(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--target", "macs"], "target 'macs' says not how much (valid: macs:0.5, bytes:0.5, latency:0.5)"),
        (["--target", "size:0.5"], "unknown target 'size'"),
        (["--target", "macs:2"], "target 'macs:2': a share is above 0 and below 1"),
        (["--target", "macs:0.01"], "target macs:0.01 cannot be met: the narrowest network still has 0."),
        (["--importance", "l3"], "unknown importance 'l3'; did you mean"),
        (["--steps", "0"], "'--steps': 0 is not in the range x>=1"),
        (["--multiple", "0"], "'--multiple': 0 is not in the range x>=1"),
        (["--epochs", "0"], "'--epochs': 0 is not in the range x>=1"),
        (["--learning-rate", "0"], "learning rate is 0.0, but must be above 0"),
        (["--distillation", "2"], "distillation is 2.0, but must be a share of the loss: 0 to 1"),
        (["--distillation", "0", "--teacher", "mod_cnn"], "--distillation 0 learns nothing from a --teacher"),
        (["--validation", "0.1"], "--validation 0.1 holds out images that these weights were trained on"),
        (["--precision", "float16"], "unknown precision 'float16'; did you mean 'bfloat16'?"),
        (["--batch-size", "2000"], "a batch of 2000 is more than the 1347 training images; give --batch-size 1024"),
        (["--model", "lennet"], "unknown model 'lennet'; did you mean 'lenet'?"),
        (["--weights", "nothing.safetensors"], "cannot read weights nothing.safetensors"),
        (["--resume"], "nothing to resume: "),
    ],
)
def test_what_cannot_be_pruned_is_one_line(
    words: list[str], part: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert part in refused(capfd, *WORDS, *words, "--out", tmp_path / "run")


def test_a_model_that_ships_teaches_what_is_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], timer: ScriptedCosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    words = ["--teacher", "mod_cnn", "--views", "1", "--out", str(tmp_path / "run")]
    assert main(["prune", *WORDS, *words, "--json"]) == 0
    header, _ = checkpoint.load(Path(json.loads(capfd.readouterr().out)["weights"]))
    teacher = checkpoint.shipped("mod_cnn", "digits")
    assert teacher is not None
    assert header.teacher == checkpoint.load(teacher)[0].origin
    assert " --teacher mod_cnn " in header.command
    assert len(list((tmp_path / "cache" / "answers").rglob("*.safetensors"))) == 1
    assert "unknown teacher 'nobody' (valid: FILE.safetensors, " in refused(
        capfd, *WORDS, "--teacher", "nobody", "--out", tmp_path / "no"
    )


def test_a_run_that_is_there_is_not_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PLAN).write_text("{}")
    assert "plan.json already exists" in refused(capfd, *WORDS, "--out", tmp_path / "run")


def test_torchrun_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "pruning trains in one process; run it without torchrun" in refused(capfd, *WORDS, "--out", tmp_path / "run")
