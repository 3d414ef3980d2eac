"""``--weights macs:0.5``: the pruned weights that ship, by what they were pruned to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header, included
from edgecnn.cli.main import main
from edgecnn.models import ModelArguments
from edgecnn.models.widths import resize
from edgecnn.runtime.bundle import open_bundle

EXPORT = ["export", "--model", "lenet", "--data", "digits", "--format", "torchscript"]
NARROW = {"fc1": (400, 80), "fc2": (80, 84)}
ARGUMENTS = ModelArguments()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights ship in these tests: a whole lenet and one of fewer channels, neither of which was trained."""
    there = tmp_path / "weights"
    monkeypatch.setattr(included, "shipped_folder", lambda: there)
    monkeypatch.chdir(tmp_path)
    whole = Header("lenet", ARGUMENTS, "digits", tuple("0123456789"), {})
    checkpoint.save(there / "digits" / "lenet.safetensors", whole, models.create("lenet").state_dict())
    pruned = replace(whole, recipe={"pruning": {"target": "macs:0.5"}}, widths=NARROW)
    network = resize(models.create("lenet"), NARROW, ARGUMENTS)
    checkpoint.save(there / "digits" / "lenet.macs0.5.safetensors", pruned, network.state_dict())
    return there


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a refused command leaves."""
    assert main([*words]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("edgecnn: error: ")


@pytest.mark.parametrize("words", [["macs:0.5"], ["macs:0.50"]])
def test_a_target_gives_the_network_that_was_pruned_to_it(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*EXPORT, "--json"]) == 0
    whole = json.loads(capfd.readouterr().out)["files"][0]["bytes"]
    assert main([*EXPORT, "--weights", *words, "--json"]) == 0
    # 40 of 120 channels of a layer of 400 inputs are gone, and 84 weights for each in the next, 4 bytes each.
    assert whole - json.loads(capfd.readouterr().out)["files"][0]["bytes"] == pytest.approx(40 * 485 * 4, rel=0.02)
    # Both lie beside each other, each in the folder of its own name.
    assert open_bundle(Path("lenet-digits-macs0.5-float32")).manifest.model.name == "lenet"
    assert open_bundle(Path("lenet-digits-float32")).manifest.model.name == "lenet"


def test_training_goes_on_from_them_and_what_it_gives_goes_by_their_target(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--model", "lenet", "--data", "digits", "--epochs", "1", "--out", "run"]
    assert main([*words, "--weights", "digits:macs:0.5"]) == 0
    header, network = checkpoint.load(tmp_path / "run" / "weights.safetensors")
    assert (header.pruned_to, header.widths, network["fc1.weight"].shape) == ("macs:0.5", NARROW, (80, 400))
    assert "--weights digits:macs:0.5" in header.command
    # Its bundle does not lie where that of the whole network does, nor does that of what is trained on once more.
    assert main([*words, "--weights", "run/weights.safetensors", "--out", "on"]) == 0
    assert main([*EXPORT, "--weights", "on/weights.safetensors"]) == 0
    assert Path("lenet-digits-macs0.5-float32").is_dir()
    for weights, message in [
        (
            "digits:macs:0.7",
            "no weights of 'lenet' pruned to macs:0.7 for data set 'digits' come with edgecnn (valid: ",
        ),
        ("digits:0.5", "target '0.5' says not how much (valid: macs:0.5, "),
        ("digits:", "target '' says not how much (valid: macs:0.5, "),
    ]:
        capfd.readouterr()
        assert refused(capfd, *words, "--weights", weights).startswith(message)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            "macs:0.7",
            "no weights of 'lenet' pruned to macs:0.7 for data set 'digits' come with edgecnn (valid: macs:0.5 for "
            "digits); make them (edgecnn prune --model lenet --target macs:0.7 --data digits) and give --weights FILE",
        ),
        ("macs:2", "target 'macs:2': a share is above 0 and below 1"),
        ("bytes:half", "target 'bytes:half': 'half' is no number"),
    ],
)
@pytest.mark.parametrize("synthetic", [False, True])
def test_a_target_of_which_nothing_ships_is_refused(
    weights: str, message: str, synthetic: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["quantize", "--model", "lenet", "--data", "digits", "--weights", weights]
    line = refused(capfd, *words, *(["--calibration", "synthetic"] if synthetic else []))
    assert line.startswith(message)


def test_no_model_from_outside_ships(capfd: pytest.CaptureFixture[str]) -> None:
    line = refused(capfd, "export", "--model", "torchvision:resnet18", "--data", "digits", "--weights", "macs:0.5")
    assert line.startswith("--weights macs:0.5 means weights that ship, and none of 'torchvision:resnet18' do; give")
