"""What a step learns from: both labels of a mixed image, each by its share, and what the teacher is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn.data.augment import Augmentation, to_input
from edgecnn.data.mix import Mixing
from edgecnn.train import TrainRecipe, train
from edgecnn.train.batch import Batch, make_batch
from tests.data.test_augment import batch, seeded
from tests.train import small
from tests.train.test_train import curve

LABELS = torch.tensor([0, 1, 2, 1, 0])
PARTNER = torch.tensor([1, 2, 0, 4, 3])
SHARE = torch.tensor([1.0, 0.75, 0.5, 0.0, 0.2])
MIXED = Batch(batch((5, 4, 4, 1)), LABELS, LABELS[PARTNER], SHARE)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_both_labels_by_their_shares(smoothing: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 3)
    wanted = torch.zeros(5, 3)
    wanted[range(5), LABELS] += SHARE
    wanted[range(5), LABELS[PARTNER]] += 1 - SHARE
    wanted = (1 - smoothing) * wanted + smoothing / 3
    expected = -(wanted * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(MIXED.loss(logits, smoothing), expected)


def test_without_mixing_it_is_the_cross_entropy_to_the_bit() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 3)
    plain = Batch(MIXED.images, LABELS)
    assert plain.loss(logits, 0.1).equal(F.cross_entropy(logits, LABELS, label_smoothing=0.1))
    assert plain.correct(F.one_hot(torch.tensor([0, 1, 2, 0, 1]), 3).float()).item() == 3


def test_a_mixed_image_is_right_by_the_share_of_the_class_that_was_found() -> None:
    found = torch.tensor([0, 2, 1, 0, 2])
    assert float(MIXED.correct(F.one_hot(found, 3).float())) == pytest.approx(1 + 0.25 + 0 + 1 + 0)


def test_images_are_augmented_first_and_nothing_is_drawn_for_mixing_that_is_not_wanted() -> None:
    images, labels = batch((40, 6, 6, 1)), torch.arange(40)
    recipe = TrainRecipe(augmentation=Augmentation(shift=1, cutout=2))
    generator, expected = seeded(3), seeded(3)
    plain = make_batch(images, labels, recipe, generator)
    augmented = recipe.augmentation(images, expected)
    assert plain.images.equal(augmented) and plain.others is None and plain.share is None
    assert generator.get_state().equal(expected.get_state())
    mixed = make_batch(images, labels, replace(recipe, mixing=Mixing(cutmix=1.0)), seeded(3))
    again = Mixing(cutmix=1.0)(augmented, generator)
    assert mixed.others is not None and mixed.share is not None
    assert (
        mixed.images.equal(again.images)
        and mixed.others.equal(labels[again.partner])
        and mixed.share.equal(again.share)
    )
    assert mixed.labels is labels


class Watching(nn.Module):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def __deepcopy__(self, memo: object) -> Watching:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x)
        return torch.zeros(len(x), 3)


def test_the_teacher_sees_the_mixed_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Batch] = []

    def remembered(*words: object) -> Batch:
        made.append(make_batch(*words))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr("edgecnn.train.views.make_batch", remembered)
    teacher = Watching()
    recipe = replace(small.QUICK, epochs=1, mixing=Mixing(mixup=1.0), distillation=0.5)
    train("lenet", small.dataset(), recipe, tmp_path, device="cpu", teacher=teacher)
    assert len(made) == len(teacher.asked) == 3
    assert all(each.others is not None for each in made)
    assert all(asked.equal(to_input(each.images)) for asked, each in zip(teacher.asked, made, strict=True))


@pytest.mark.parametrize("mixing", [Mixing(mixup=0.2), Mixing(cutmix=1.0)], ids=["mixup", "cutmix"])
def test_mixed_images_teach(mixing: Mixing, tmp_path: Path) -> None:
    recipe = replace(small.QUICK, epochs=12, mixing=mixing)
    header = train("lenet", small.dataset(), recipe, tmp_path, device="cpu")
    assert header.metrics["test_accuracy"] > 0.8
    assert 0.3 < float(curve(tmp_path)[-1]["train_accuracy"]) < 1
