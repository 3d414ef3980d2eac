"""Going on from trained weights: what is kept of them, and what the header says of where they came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header
from edgecnn.data.dataset import DataSet
from edgecnn.errors import BadFileError, UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.widths import Widths, resize
from edgecnn.train import WEIGHTS, train
from edgecnn.train.recipe import suited
from edgecnn.train.start import Start
from tests.train import small
from tests.train.small import QUICK

STILL = replace(QUICK, epochs=1, **suited("sgd") | {"learning_rate": 1e-12})  # moves nothing that could be seen
NARROW = {"fc2": (120, 40), "fc3": (40, 3)}
RENAMED = replace(small.dataset(), name="renamed", classes=("high", "low", "neither"))


def start(widths: Widths | None = None) -> Start:
    """A network of random weights that is said to be trained on the small data set."""
    data = small.dataset()
    arguments = ModelArguments.for_images(data.image, len(data.classes))
    torch.manual_seed(7)
    network = resize(models.create("lenet", arguments), widths or {}, arguments)
    return Start(network, Header("lenet", arguments, data.name, data.classes, {}, command="make", widths=widths or {}))


def went_on(begun: Start, data: DataSet, out: Path) -> tuple[Header, dict[str, Tensor]]:
    """Header and weights after a training that moves nothing."""
    train("lenet", data, STILL, out, start=begun)
    return checkpoint.load(out / WEIGHTS)


def kept(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The layers whose tensors are what they were."""
    moved = {name.rpartition(".")[0] for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    return {name.rpartition(".")[0] for name in before} - moved


@pytest.mark.parametrize("widths", [{}, NARROW])
def test_training_begins_with_the_weights(tmp_path: Path, widths: Widths) -> None:
    begun = start(widths)
    header, tensors = went_on(begun, small.dataset(), tmp_path)
    before = begun.network.state_dict()
    assert kept(before, tensors) == {"conv1", "conv2", "fc1", "fc2", "fc3"}
    assert header.recipe == STILL.to_json() | {"weights": checkpoint.digest(begun.network)}
    assert header.start == begun.header.origin and header.start["command"] == "make"
    assert header.widths == widths
    checkpoint.load_model(tmp_path / WEIGHTS, "lenet")


def test_weights_move_from_there(tmp_path: Path) -> None:
    data, begun = small.dataset(), start()
    first = train("lenet", data, replace(QUICK, epochs=6), tmp_path / "first")
    again = Start(*checkpoint.load_model(tmp_path / "first" / WEIGHTS))
    fresh = train("lenet", data, replace(QUICK, epochs=1), tmp_path / "fresh", start=begun)
    second = train("lenet", data, replace(QUICK, epochs=1), tmp_path / "second", start=again)
    assert second.metrics["train_loss"] < first.metrics["train_loss"] < fresh.metrics["train_loss"]


@pytest.mark.parametrize("widths", [{}, NARROW])
@pytest.mark.parametrize("classes", [RENAMED.classes, ("high", "low", "neither", "both")])
def test_for_other_classes_only_the_last_layer_starts_anew(
    tmp_path: Path, widths: Widths, classes: tuple[str, ...]
) -> None:
    begun, data = start(widths), replace(RENAMED, classes=classes)
    header, tensors = went_on(begun, data, tmp_path)
    before = begun.network.state_dict()
    assert tensors["fc3.bias"].shape == (len(classes),)
    others = {name: tensor for name, tensor in before.items() if not name.startswith("fc3.")}
    assert kept(others, tensors) == {"conv1", "conv2", "fc1", "fc2"}
    if len(classes) == 3:
        assert not torch.allclose(before["fc3.weight"], tensors["fc3.weight"], atol=1e-3)
    assert header.classes == classes
    assert header.start["dataset"] == "small"
    checkpoint.load_model(tmp_path / WEIGHTS, "lenet")


def test_what_does_not_fit_the_images_is_refused(tmp_path: Path) -> None:
    coloured = replace(small.dataset(), image=(16, 16, 3))
    with pytest.raises(BadFileError, match="became on small does not fit the model: tensor 'conv1.weight' is 6x1x5x5"):
        train("lenet", coloured, STILL, tmp_path / "run", start=start())


def test_a_design_goes_on_as_a_deeper_one(tmp_path: Path) -> None:
    data, design, deeper = small.dataset(), "design:c4-r8s2", "design:c4-r4-r8s2n2"
    train(design, data, QUICK, tmp_path / "first")
    begun = Start(*checkpoint.load_model(tmp_path / "first" / WEIGHTS), deeper)
    images = torch.randn(5, 1, 16, 16)
    assert torch.allclose(begun.build(data).eval()(images), begun.network(images), atol=1e-6)
    train(deeper, data, STILL, tmp_path / "second", start=begun)
    header, tensors = checkpoint.load(tmp_path / "second" / WEIGHTS)
    assert torch.allclose(tensors["r3_1.conv1.weight"], begun.network.state_dict()["r2.conv1.weight"], atol=1e-6)
    assert tensors["r3_2.bn2.weight"].abs().max() < 1e-6  # of a block that is new
    assert (header.model, header.start, header.widths) == (deeper, begun.header.origin, {})
    assert header.recipe["weights"] == checkpoint.digest(begun.network)
    renamed = train(deeper, RENAMED, STILL, tmp_path / "third", start=begun)
    assert renamed.classes == RENAMED.classes


def test_what_cannot_go_on_as_a_deeper_network_is_refused(tmp_path: Path) -> None:
    data = small.dataset()
    with pytest.raises(UsageError, match="'lenet' cannot go on as 'design:c4-r8s2': both have to be designs"):
        train("design:c4-r8s2", data, STILL, tmp_path, start=replace(start(), deeper="design:c4-r8s2"))
    arguments = ModelArguments.for_images(data.image, len(data.classes))
    widths = {"r2.conv1": (4, 6), "r2.bn1": (6, 6), "r2.conv2": (6, 8)}
    network = resize(models.create("design:c4-r8s2", arguments), widths, arguments)
    header = Header("design:c4-r8s2", arguments, data.name, data.classes, {}, widths=widths)
    with pytest.raises(UsageError, match="weights of a pruned 'design:c4-r8s2' cannot go on as 'design:c4-r4-r8s2'"):
        train("design:c4-r4-r8s2", data, STILL, tmp_path, start=Start(network, header, "design:c4-r4-r8s2"))


def test_images_that_were_trained_on_before_other_images_are_not_held_out_either(tmp_path: Path) -> None:
    train("lenet", RENAMED, STILL, tmp_path / "on others", start=start())
    begun = Start(*checkpoint.load_model(tmp_path / "on others" / WEIGHTS))
    holding = replace(STILL, validation=0.2)
    for data in (small.dataset(), RENAMED):
        with pytest.raises(UsageError, match="--validation 0.2 holds out images that these weights were trained on"):
            train("lenet", data, holding, tmp_path / "run", start=begun)
    train("lenet", replace(small.dataset(), name="never seen"), holding, tmp_path / "run", start=begun)


def test_a_run_is_resumed_from_the_same_weights_alone(tmp_path: Path) -> None:
    data, begun = small.dataset(), start()
    train("lenet", data, STILL, tmp_path, start=begun)
    with pytest.raises(UsageError, match="its weights is [0-9a-f]{64}, this run's is None"):
        train("lenet", data, STILL, tmp_path, resume=True)
    header = train("lenet", data, STILL, tmp_path, resume=True, start=begun)
    assert header.training["epochs"] == 1
