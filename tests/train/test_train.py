"""A training from images to files, in this process, on a data set that takes a moment."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy

from edgecnn import checkpoint
from edgecnn.data.augment import Augmentation
from edgecnn.data.dataset import Memory
from edgecnn.errors import BadFileError, OutputExistsError, UnknownNameError, UsageError
from edgecnn.evaluate import predictor, score_model
from edgecnn.train import CHECKPOINT, CURVE, WEIGHTS, TrainRecipe, choose_device, train
from edgecnn.train.folder import RunFolder
from edgecnn.train.recipe import suited
from tests.train import small
from tests.train.small import QUICK
from tests.train.stopping import stop_after


class Watched:
    """A split that counts how often each image was taken."""

    def __init__(self, split: Memory) -> None:
        self.split, self.taken = split, np.zeros(len(split), int)

    def __len__(self) -> int:
        return len(self.split)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        np.add.at(self.taken, indices, 1)
        return self.split.take(indices)


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / CURVE).open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_weights_curve_and_checkpoint(tmp_path: Path) -> None:
    data = small.dataset()
    header = train("lenet", data, replace(QUICK, epochs=8), tmp_path / "run", command="as typed")
    assert sorted(os.listdir(tmp_path / "run")) == small.FILES
    model, found = checkpoint.load_model(tmp_path / "run" / WEIGHTS, "lenet")
    assert found == header
    assert (header.model, header.dataset, header.classes) == ("lenet", "small", ("top", "bottom", "none"))
    assert (header.arguments.in_channels, header.arguments.image_size) == (1, (16, 16))
    assert header.command == "as typed"
    assert header.recipe == replace(QUICK, epochs=8).to_json()
    assert header.metrics["test_images"] == 30
    assert header.metrics["test_accuracy"] == score_model(model, data.test).accuracy > 0.8
    assert header.training["epochs"] == 8
    assert header.training["processes"] == 1
    rows = curve(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 9)]
    assert float(rows[0]["loss"]) > float(rows[-1]["loss"]) == pytest.approx(header.metrics["train_loss"], rel=1e-4)
    assert "validation_accuracy" not in rows[0]


def test_loss_and_accuracy_are_those_of_the_smoothed_labels(tmp_path: Path) -> None:
    """One step so small that the net is afterwards what it was before."""
    still = Augmentation(shift=0, flip=False)
    recipe = TrainRecipe(epochs=1, batch_size=100, learning_rate=1e-9, label_smoothing=0.3, augmentation=still)
    train("lenet", small.dataset(), recipe, tmp_path, device="cpu")
    images, labels = small.dataset().train.take(np.arange(100))
    logits = torch.from_numpy(predictor(checkpoint.load_model(tmp_path / WEIGHTS, "lenet")[0])(images))
    (row,) = curve(tmp_path)
    expected = cross_entropy(logits, torch.from_numpy(labels), label_smoothing=0.3)
    assert float(row["loss"]) == pytest.approx(float(expected), abs=1e-5)
    assert float(row["train_accuracy"]) == pytest.approx((logits.argmax(1).numpy() == labels).mean())


@pytest.mark.parametrize(
    "recipe",
    [
        QUICK,
        replace(QUICK, optimizer="adamw", learning_rate=0.01, precision="bfloat16"),
        replace(QUICK, **suited("sgd")),
        replace(QUICK, augmentation=Augmentation(cutout=4)),
    ],
    ids=["muon", "adamw", "sgd", "cutout"],
)
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    recipe: TrainRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, epochs=3)
    train("depthwise", small.dataset(), recipe, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            train("depthwise", small.dataset(), recipe, tmp_path / "parts")
    assert sorted(os.listdir(tmp_path / "parts")) == [CHECKPOINT, CURVE]
    header = train("depthwise", small.dataset(), recipe, tmp_path / "parts", resume=True)
    for name in (WEIGHTS, CHECKPOINT):
        assert small.same(small.tensors(tmp_path / "whole", name), small.tensors(tmp_path / "parts", name))
    whole, parts = curve(tmp_path / "whole"), curve(tmp_path / "parts")
    assert [row | {"seconds": ""} for row in whole] == [row | {"seconds": ""} for row in parts]
    again = train("depthwise", small.dataset(), recipe, tmp_path / "parts", resume=True)
    assert again.metrics == header.metrics, "resuming a finished run only scores it again"


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        torch.manual_seed(len(name))
        train("depthwise", small.dataset(), replace(QUICK, epochs=1, seed=seed), tmp_path / name)
    assert small.same(small.tensors(tmp_path / "one"), small.tensors(tmp_path / "two"))
    assert not small.same(small.tensors(tmp_path / "one"), small.tensors(tmp_path / "three"))


def test_dropout_is_the_models_own_or_what_is_asked_for(tmp_path: Path) -> None:
    for name, dropout in (("own", None), ("same", 0.3), ("none", 0.0)):
        train("depthwise", small.dataset(), replace(QUICK, epochs=1, dropout=dropout), tmp_path / name)
    assert small.same(small.tensors(tmp_path / "own"), small.tensors(tmp_path / "same"))
    assert not small.same(small.tensors(tmp_path / "own"), small.tensors(tmp_path / "none"))
    with pytest.raises(UsageError, match="dropout is 0.0, but 'resnet8' has no layer for it; leave that setting out"):
        train("resnet8", small.dataset(), replace(QUICK, dropout=0.0), tmp_path / "refused")


def test_without_validation_the_test_images_are_scored_once_at_the_end(tmp_path: Path) -> None:
    data = small.dataset()
    test = Watched(small.split(30, seed=2))
    train("lenet", replace(data, test=test), QUICK, tmp_path / "run")
    assert (test.taken == 1).all()


def test_validation_holds_images_out_and_leaves_the_test_images_alone(tmp_path: Path) -> None:
    training, test = Watched(small.split(100, seed=1)), Watched(small.split(30, seed=2))
    data = replace(small.dataset(), train=training, test=test)
    # So short that the averaged weights, which count, still differ from the live ones.
    header = train("depthwise", data, replace(QUICK, epochs=4, batch_size=16, validation=0.2), tmp_path / "run")
    assert not test.taken.any()
    # Trained on: taken once, before the first epoch. Held out: after each of 4 epochs, and for the final score.
    assert sorted(training.taken) == [1] * 80 + [5] * 20
    assert header.metrics["validation_images"] == 20
    assert "test_accuracy" not in header.metrics
    assert float(curve(tmp_path / "run")[-1]["validation_accuracy"]) == header.metrics["validation_accuracy"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"batch_size": 101}, "a batch of 101 is more than the 100 training images; give --batch-size 64"),
        ({"batch_size": 90, "validation": 0.2}, "a batch of 90 is more than the 80 training images; give"),
        ({"validation": 0.001}, "validation 0.001 of 100 training images is not one image"),
    ],
)
def test_settings_that_do_not_fit_the_data_leave_nothing_behind(
    change: dict[str, Any], part: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=part):
        train("lenet", small.dataset(), replace(QUICK, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_epoch(tmp_path: Path) -> None:
    wild = replace(QUICK, epochs=50, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(UsageError, match=r"the loss is not finite in epoch \d+; lower --learning-rate \(1e\+30\)"):
        train("depthwise", small.dataset(), wild, tmp_path / "run")
    assert not (tmp_path / "run" / WEIGHTS).exists()


def test_a_run_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    train("lenet", small.dataset(), QUICK, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in small.FILES}
    for name in small.FILES:
        other = tmp_path / f"only {name}"
        other.mkdir()
        (other / name).write_bytes(b"precious")
        with pytest.raises(OutputExistsError, match=name):
            train("lenet", small.dataset(), replace(QUICK, seed=1), other)
        assert (other / name).read_bytes() == b"precious"
    assert {name: (tmp_path / name).read_bytes() for name in small.FILES} == before
    train("lenet", small.dataset(), replace(QUICK, seed=1), tmp_path, force=True)
    assert all((tmp_path / name).read_bytes() != before[name] for name in small.FILES)


def test_a_replaced_run_never_leaves_its_weights_beside_a_new_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("lenet", small.dataset(), QUICK, tmp_path)
    stop_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train("lenet", small.dataset(), replace(QUICK, seed=1), tmp_path, force=True)
    assert sorted(os.listdir(tmp_path)) == [CHECKPOINT, CURVE]


@pytest.mark.parametrize("resume", [True, False], ids=["resume", "force"])
def test_a_run_that_is_still_going_is_left_alone(resume: bool, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train("lenet", small.dataset(), QUICK, out)
    files = {path: path.read_bytes() for path in out.iterdir()}
    with RunFolder(out).claimed(), pytest.raises(UsageError, match=f"^{out} is being written by a training"):
        train("lenet", small.dataset(), QUICK, out, resume=resume, force=not resume)
    assert {path: path.read_bytes() for path in out.iterdir()} == files
    train("lenet", small.dataset(), QUICK, out, resume=resume, force=not resume)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="nothing to resume: .*does not exist; run without --resume"):
        train("lenet", small.dataset(), QUICK, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("model", "change", "part"),
    [
        ("mod_cnn", {}, "its model is lenet, this run's is mod_cnn"),
        ("lenet", {"epochs": 5}, "its epochs is 2, this run's is 5"),
        ("lenet", {"learning_rate": 0.2}, "its learning rate is 0.05, this run's is 0.2"),
        ("lenet", {"augmentation": Augmentation(shift=2)}, "its augmentation is {'shift': 1, .*}, this run's is "),
    ],
)
def test_another_run_is_not_resumed(model: str, change: dict[str, Any], part: str, tmp_path: Path) -> None:
    train("lenet", small.dataset(), QUICK, tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(UsageError, match=f"cannot resume .*: {part}.*; use the same options"):
        train(model, small.dataset(), replace(QUICK, **change), tmp_path, resume=True)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


NO_MIXING = {"mixup": 0.0, "cutmix": 0.0}


def recorded(folder: Path, recipe: dict[str, Any], leave_out: tuple[str, ...] = ()) -> Path:
    """A checkpoint that has only to be scored, in whose settings ``recipe`` was recorded."""
    train("lenet", small.dataset(), QUICK, folder)
    header, tensors = checkpoint.load(folder / CHECKPOINT)
    recipe = {name: value for name, value in (header.recipe | recipe).items() if name not in leave_out}
    checkpoint.save(folder / CHECKPOINT, replace(header, recipe=recipe), tensors)
    return folder


def test_a_checkpoint_from_before_some_settings_is_resumed(tmp_path: Path) -> None:
    folder = recorded(tmp_path, {"augmentation": {"shift": 1, "flip": True}}, leave_out=("views", "distillation"))
    before = small.tensors(folder)
    train("lenet", small.dataset(), QUICK, folder, resume=True)
    assert small.same(before, small.tensors(folder))
    with pytest.raises(UsageError, match="cannot resume .*: its distillation is 0.0, this run's is 0.5"):
        train("lenet", small.dataset(), replace(QUICK, distillation=0.5), folder, resume=True)


def test_a_checkpoint_that_says_that_nothing_was_mixed_is_resumed(tmp_path: Path) -> None:
    augmentation = QUICK.to_json()["augmentation"] | {"operations": 0}
    folder = recorded(tmp_path, {"augmentation": augmentation, "mixing": NO_MIXING})
    before = small.tensors(folder)
    train("lenet", small.dataset(), QUICK, folder, resume=True)
    assert small.same(before, small.tensors(folder))


@pytest.mark.parametrize("name", ["mixing", "augmentation"])
def test_a_training_that_mixed_images_or_changed_their_colours_is_not_resumed_without(
    name: str, tmp_path: Path
) -> None:
    before = {"mixing": NO_MIXING | {"mixup": 0.2}, "augmentation": QUICK.to_json()["augmentation"] | {"operations": 2}}
    folder = recorded(tmp_path, {name: before[name]})
    with pytest.raises(UsageError, match=f"cannot resume .*: its {name} is .*, this run's is "):
        train("lenet", small.dataset(), QUICK, folder, resume=True)


def test_what_is_no_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    train("lenet", small.dataset(), QUICK, tmp_path)
    path = tmp_path / CHECKPOINT
    header, tensors = checkpoint.load(path)

    def refused(part: str) -> None:
        with pytest.raises(BadFileError, match=part):
            train("lenet", small.dataset(), QUICK, tmp_path, resume=True)

    weights = (tmp_path / WEIGHTS).read_bytes()
    path.write_bytes(weights)
    refused("holds finished weights")
    checkpoint.save(path, header, tensors | {"strange.thing": torch.zeros(1)})
    refused("no checkpoint of an unfinished training: it has a tensor 'strange.thing'")
    checkpoint.save(path, header, {name: tensors[name] for name in tensors if name != "average.module.fc3.bias"})
    refused("no tensor 'module.fc3.bias'")
    checkpoint.save(path, header, tensors | {"optimizer.fc9.bias.momentum_buffer": torch.zeros(3)})
    refused("no parameter 'fc9.bias'")
    checkpoint.save(path, header, tensors | {"optimizer.fc3.bias.momentum_buffer": torch.zeros(4)})
    refused("'fc3.bias.momentum_buffer' has another shape than its parameter")
    path.write_bytes(b"half of it")
    refused("not a whole safetensors file")


@pytest.mark.parametrize(
    "change",
    [
        {"curve": []}, {"curve": 5}, {"curve": [1, 2]}, {"curve": [{"epoch": 1}, {"epoch": 2}]}, {"epochs": "x"},
        {"epochs": -1}, {"epochs": 99}, {"epochs": None},
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_say_how_far_it_came_is_not_resumed(change: dict[str, Any], tmp_path: Path) -> None:
    train("lenet", small.dataset(), QUICK, tmp_path)
    header, tensors = checkpoint.load(tmp_path / CHECKPOINT)
    checkpoint.save(tmp_path / CHECKPOINT, replace(header, training=header.training | change), tensors)
    with pytest.raises(BadFileError, match="its curve has no line of numbers for each of .* epochs; run without"):
        train("lenet", small.dataset(), QUICK, tmp_path, resume=True)


@pytest.mark.parametrize("name", ["cuda:99", "cuda:x"])
def test_a_device_that_is_not_here(name: str) -> None:
    with pytest.raises(UsageError, match=rf"device '{name}' cannot be used \(.*\); use auto, cpu or cuda"):
        choose_device(name)


@pytest.mark.parametrize("name", ["tpu", "meta", "gpu", "no such"])
def test_a_device_of_another_kind(name: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown device '{name}'.* \(valid: auto, cpu, cuda\)"):
        choose_device(name)


@pytest.mark.parametrize(
    ("precision", "features", "told"),
    [("bfloat16", {"avx2": True}, True), ("bfloat16", {"avx2": True, "amx_bf16": True}, False),
     ("bfloat16", {"bf16": True}, False), ("float32", {"avx2": True}, False)],
)  # fmt: skip
def test_a_processor_without_bfloat16_is_said_to_be_slow_with_it(
    precision: str, features: dict[str, bool], told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    train("lenet", small.dataset(), replace(QUICK, epochs=1, precision=precision), tmp_path / "run", device="cpu")
    first, *more = capsys.readouterr().err.splitlines()
    assert first.startswith("this processor has no instructions for bfloat16") == told
    assert [line.startswith("epoch 1/1 ") for line in (more if told else [first, *more])] == [True]


def test_no_gradient_is_asked_for_that_torch_gets_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, tuple[int, ...]]] = []

    def watched(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any = (1, 1), *more: Any) -> Tensor:
        if torch.is_grad_enabled() and weight.shape[2:] == (1, 1):
            steps.append((weight.shape[1], tuple(stride)))
        return conv2d(x, weight, bias, stride, *more)

    monkeypatch.setattr("torch.nn.functional.conv2d", watched)
    train("design:c4-r8s2-r16s2-r24s2", small.dataset(), replace(QUICK, epochs=1), tmp_path / "run", device="cpu")
    assert set(steps) == {(4, (1, 1)), (8, (1, 1)), (16, (2, 2))}, "those of few channels skip pixels first"
