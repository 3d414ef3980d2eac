"""Learning from a teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header
from edgecnn.data.augment import Augmentation, shift, to_input
from edgecnn.errors import BadFileError, UsageError
from edgecnn.evaluate import predictor
from edgecnn.models import ModelArguments
from edgecnn.train import Task, TrainRecipe, run
from edgecnn.train.distill import TEMPERATURE, divergence, identity, load_teachers
from tests.train import small

RECIPE = replace(small.QUICK, epochs=12, label_smoothing=0.0)


class Turned(nn.Module):
    """Knows the small data set, but says the class after the right one; in training mode it says nothing at all."""

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = x[:, :, :8].mean((1, 2, 3)), x[:, :, 8:].mean((1, 2, 3))
        right = torch.where(top - bottom > 0.5, 0, torch.where(bottom - top > 0.5, 1, 2))
        wrong = F.one_hot((right + 1) % 3, 3) * 8.0
        return torch.zeros_like(wrong) if self.training else wrong


def trained(folder: Path, recipe: TrainRecipe, teacher: nn.Module | None) -> np.ndarray:
    """What a network trained so says of the test images."""
    data = small.dataset()
    arguments = ModelArguments(3, 1, (16, 16))
    built: list[nn.Module] = []

    def build() -> nn.Module:
        return models.create("lenet", arguments)

    def keep(model: nn.Module) -> nn.Module:
        built.append(model)
        return model

    header = Header("lenet", arguments, data.name, data.classes, recipe.to_json())
    task = Task(header, build, finish=keep, teacher=teacher)
    run(task, data, recipe, folder, device="cpu", resume=False, force=False)
    return predictor(built[0])(data.test.take(np.arange(30))[0]).argmax(1)


def test_the_share_of_the_teacher_decides_who_is_believed(tmp_path: Path) -> None:
    labels = small.dataset().test.take(np.arange(30))[1]
    taught = trained(tmp_path / "all", replace(RECIPE, distillation=1.0), Turned())
    assert (taught == (labels + 1) % 3).mean() > 0.9
    ignored = trained(tmp_path / "none", RECIPE, Turned())
    assert (ignored == labels).mean() > 0.9


def test_the_teacher_sees_what_the_pupil_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Tensor] = []

    def remembered(augmentation: Augmentation, images: Tensor, generator: Generator) -> Tensor:
        made.append(shift(images, augmentation.shift, generator))
        return made[-1]

    class Watching(Turned):
        asked: ClassVar[list[Tensor]] = []

        def forward(self, x: Tensor) -> Tensor:
            self.asked.append(x)
            return super().forward(x)

    monkeypatch.setattr(Augmentation, "__call__", remembered)
    trained(tmp_path, replace(RECIPE, epochs=1, distillation=0.5), Watching())
    assert len(made) == len(Watching.asked) == 3
    assert all(asked.equal(to_input(images)) for asked, images in zip(Watching.asked, made, strict=True))


def test_a_teacher_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="distillation is 0.5, but there is no teacher"):
        trained(tmp_path / "run", replace(RECIPE, distillation=0.5), None)


def test_the_large_net_that_ships_teaches_by_its_name() -> None:
    path = checkpoint.shipped("teacher", "cifar10")
    assert path is not None
    header, tensors = checkpoint.load(path)
    data = replace(small.dataset(), name="cifar10", classes=header.classes, image=(32, 32, 3))
    teacher, origin = load_teachers([Path("teacher")], data)
    assert identity(teacher) == checkpoint.digest(tensors)
    assert origin == header.origin


def test_a_teacher_with_more_logits_than_named_classes_is_refused(tmp_path: Path) -> None:
    data, arguments = small.dataset(), ModelArguments(5, 1, (16, 16))
    header = Header("lenet", arguments, data.name, data.classes, {})
    checkpoint.save(tmp_path / "t.safetensors", header, models.create("lenet", arguments).state_dict())
    with pytest.raises(BadFileError, match=f"is a teacher for the 5 classes of {data.name}, not for the 3 of"):
        load_teachers([tmp_path / "t.safetensors"], data)


def test_a_teacher_whose_architecture_is_somebodys_code_is_refused_and_not_run(tmp_path: Path) -> None:
    data, arguments = small.dataset(), ModelArguments(3, 1, (16, 16))
    (tmp_path / "trap.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    header = Header(f"{tmp_path / 'trap.py'}:make", arguments, data.name, data.classes, {})
    checkpoint.save(tmp_path / "t.safetensors", header, models.create("lenet", arguments).state_dict())
    with pytest.raises(UsageError, match="which is code of yours: it cannot teach"):
        load_teachers([tmp_path / "t.safetensors"], data)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_nothing_to_all(share: float) -> None:
    with pytest.raises(UsageError, match="distillation is .*, but must be a share of the loss: 0 to 1"):
        replace(RECIPE, distillation=share)


def test_the_divergence_is_that_of_softened_probabilities() -> None:
    ours, theirs = torch.randn(5, 3), torch.randn(5, 3)
    p, q = torch.softmax(theirs / TEMPERATURE, 1), torch.softmax(ours / TEMPERATURE, 1)
    expected = TEMPERATURE**2 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(divergence(ours, theirs), expected)
    assert float(divergence(theirs, theirs)) == pytest.approx(0, abs=1e-6)
