"""``edgecnn models``: what there is, and what ships with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header, included
from edgecnn.cli.main import main
from edgecnn.models import ModelArguments, registry
from edgecnn.models.widths import resize

HEADER = Header(
    "lenet", ModelArguments(), "digits", tuple("0123456789"), {}, {"test_accuracy": 0.9512, "test_images": 450},
    {"epochs": 15, "seconds": 5.9, "device": "a machine"}, "edgecnn train --model lenet --data digits",
    "2026-01-02T03:04:05+00:00",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where shipped weights lie in these tests."""
    monkeypatch.setattr(included, "shipped_folder", lambda: tmp_path)
    return tmp_path


def ship(folder: Path, header: Header) -> Path:
    path = folder / header.dataset / f"{header.model}.safetensors"
    checkpoint.save(path, header, {"a": torch.zeros(3)})
    return path


def lines(capfd: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The words of each line of the table below its rule."""
    assert main(["models"]) == 0
    return [line.split() for line in capfd.readouterr().out.splitlines()[2:]]


def test_without_weights_there_are_names_and_sizes(capfd: pytest.CaptureFixture[str]) -> None:
    assert lines(capfd)[:2] == [
        ["lenet", "62,006", "651,720", *"--------"],
        ["mod_cnn", "127,858", "1,686,056", *"--------"],
    ]
    assert main(["models", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert [entry["name"] for entry in document] == models.names()
    assert document[0] == {"name": "lenet", "parameters": 62_006, "macs": 651_720, "weights": []}


def test_shipped_weights_are_listed_below_their_model(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = ship(folder, HEADER)
    more = replace(HEADER, dataset="cifar10", training={"epochs": 60, "seconds": 1234.0})
    checkpoint.annotate(ship(folder, more), {"static_w8a8_accuracy": 0.9476})
    trained = folder / "cifar10" / "lenet.static_w8a8.safetensors"
    quantized = {"recipe_name": "static_w8a8"}
    scored = replace(more, metrics={"static_w8a8_accuracy": 0.9502}, command="as typed", quantization=quantized)
    checkpoint.save(trained, scored, {})
    assert lines(capfd)[:3] == [
        [
            "lenet",
            "62,006",
            "651,720",
            "cifar10",
            "95.12",
            "%",
            "94.76",
            "%",
            "95.02",
            "%",
            "450",
            "60",
            "21",
            "min",
            "2026-01-02",
        ],
        ["digits", "95.12", "%", "-", "-", "450", "15", "6", "s", "2026-01-02"],
        ["mod_cnn", "127,858", "1,686,056", *"--------"],
    ]
    assert main(["models", "--json"]) == 0
    lenet = json.loads(capfd.readouterr().out)[0]
    assert [weights["static_w8a8_accuracy"] for weights in lenet["weights"]] == [0.9476, None]
    assert lenet["weights"][0]["qat"] == {
        "static_w8a8_accuracy": 0.9502, "command": "as typed", "training": more.training, "file": str(trained),
        "bytes": trained.stat().st_size,
    }  # fmt: skip
    assert lenet["weights"][1] == {
        "dataset": "digits", "pruned": None, "accuracy": 0.9512, "accuracy_images": 450, "static_w8a8_accuracy": None,
        "qat": None, "created": HEADER.created, "command": HEADER.command, "training": HEADER.training,
        "in_all": {"epochs": 15, "seconds": 5.9}, "file": str(path), "bytes": path.stat().st_size,
    }  # fmt: skip


def test_time_and_epochs_are_those_of_all_that_came_before(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    second = replace(HEADER, start=HEADER.origin, training={"epochs": 20, "seconds": 60.0})
    ship(folder, replace(second, start=second.origin, training={"epochs": 1, "seconds": 40.0}))
    assert lines(capfd)[0][-5:] == ["450", "36", "106", "s", "2026-01-02"]
    ship(folder, replace(second, start=replace(HEADER, training={}).origin))  # nobody knows how long that took
    assert lines(capfd)[0][-4:] == ["450", "-", "-", "2026-01-02"]


def test_pruned_weights_have_a_line_with_their_own_size(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ship(folder, HEADER)
    narrow = replace(
        HEADER, recipe={"pruning": {"target": "macs:0.9"}}, widths={"fc1": (400, 80), "fc2": (80, 84)},
        metrics={"test_accuracy": 0.75, "test_images": 450},
    )  # fmt: skip
    network = resize(models.create("lenet"), narrow.widths, narrow.arguments)
    checkpoint.save(folder / "digits" / "lenet.macs0.9.safetensors", narrow, network.state_dict())
    whole, pruned, _ = lines(capfd)[:3]
    assert whole[:4] == ["lenet", "62,006", "651,720", "digits"]
    # Without 40 of the first layer's channels, and of what the second reads.
    parameters, macs = 62_006 - 40 * (400 + 1) - 40 * 84, 651_720 - 40 * 400 - 40 * 84
    assert pruned[:7] == ["pruned", "to", "macs:0.9", f"{parameters:,}", f"{macs:,}", "digits", "75.00"]
    assert main(["models", "--json"]) == 0
    weights = json.loads(capfd.readouterr().out)[0]["weights"]
    assert [each["pruned"] for each in weights] == [
        None, {"target": "macs:0.9", "parameters": parameters, "macs": macs},
    ]  # fmt: skip


def test_damaged_weights_are_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = ship(folder, HEADER)
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["models"]) == 2
    assert f"edgecnn: error: {path} is not a whole safetensors file" in capfd.readouterr().err


def test_a_registered_model_that_cannot_run_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    registry.names()
    known = dict(registry._FACTORIES)
    monkeypatch.setattr(registry, "_FACTORIES", known)

    @models.register("wrong")
    def wrong(num_classes: int, in_channels: int, image_size: tuple[int, int]) -> nn.Module:
        return nn.Linear(5, num_classes)

    assert main(["models", "--json"]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert document[-1] == {"name": "wrong", "parameters": None, "macs": None, "weights": []}
    assert [entry["name"] for entry in document] == models.names()
    assert err.startswith(
        "wrong: not measured (model 'wrong' cannot take images of 32x32x3: mat1 and mat2 shapes cannot be"
    )
    assert err.count("\n") == 1
