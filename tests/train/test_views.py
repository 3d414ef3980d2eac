"""Views: a teacher's answers are asked for once, kept on disk, and teach as if it were asked each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.data.augment import Augmentation, to_input
from edgecnn.errors import BadFileError, UsageError
from edgecnn.train import WEIGHTS, TrainRecipe, train
from edgecnn.train.distill import Committee
from edgecnn.train.processes import Processes
from edgecnn.train.views import VARIABLE, Views
from tests.train import small
from tests.train.stopping import stop_after

RECIPE = replace(small.QUICK, epochs=5, augmentation=Augmentation(shift=1), distillation=0.5, views=2)
IMAGES = len(small.dataset().train)


class Counting(nn.Module):
    """Says the same of every image of a class that is bright on top, and counts the images it is asked about."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))
        self.asked: list[Tensor] = []

    def __deepcopy__(self, memo: object) -> Counting:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x)
        return self.said(x)

    def said(self, x: Tensor) -> Tensor:
        top, bottom = x[:, :, :8].mean((1, 2, 3)), x[:, :, 8:].mean((1, 2, 3))
        return torch.stack([top - bottom, bottom - top, top * 0 + self.bias], 1)

    @property
    def images(self) -> int:
        return sum(map(len, self.asked))


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; below it are the answers."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "answers"


def weights(
    folder: Path, recipe: TrainRecipe, teacher: nn.Module, model: str = "lenet", resume: bool = False
) -> list[bytes]:
    """What a training ends with."""
    train(model, small.dataset(), recipe, folder, device="cpu", teacher=teacher, resume=resume)
    return [tensor.numpy().tobytes() for _, tensor in sorted(checkpoint.load(folder / WEIGHTS)[1].items())]


def viewed(teacher: nn.Module, recipe: TrainRecipe) -> tuple[Tensor, Tensor, Views]:
    """Images, labels, and their first view."""
    images, labels = (torch.from_numpy(array) for array in small.dataset().train.take(np.arange(IMAGES)))
    views = Views(images, labels, recipe, teacher, Processes())
    views.begin(0)
    return images, labels, views


def test_the_teacher_is_asked_once_for_each_view_and_not_by_the_next_pupil(tmp_path: Path) -> None:
    teacher, again = Counting(), Counting()
    first = weights(tmp_path / "first", RECIPE, teacher)
    assert teacher.images == 2 * 2 * IMAGES, "two views, and their mirror images"
    assert not teacher.asked[0].equal(teacher.asked[len(teacher.asked) // 2]), "views differ"
    assert weights(tmp_path / "second", RECIPE, again) == first
    weights(tmp_path / "other", RECIPE, again, "resnet8")
    assert again.images == 0


@pytest.mark.parametrize(
    "change",
    [{"augmentation": Augmentation(shift=2)}, {"seed": 1}, {"validation": 0.2}, {"precision": "bfloat16"}],
    ids=lambda change: next(iter(change)),
)
def test_answers_to_other_images_or_in_another_precision_are_asked_for(
    change: dict[str, object], tmp_path: Path
) -> None:
    weights(tmp_path / "first", replace(RECIPE, epochs=1), Counting())
    teacher = Counting()
    weights(tmp_path / "second", replace(RECIPE, epochs=1, **change), teacher)  # type: ignore[arg-type]
    assert teacher.images > 0


def test_another_teacher_is_asked(tmp_path: Path) -> None:
    weights(tmp_path / "first", replace(RECIPE, epochs=1), Counting())
    other = Counting(bias=3.0)
    weights(tmp_path / "second", replace(RECIPE, epochs=1), other)
    assert other.images == 2 * IMAGES


def test_a_teacher_that_makes_something_else_of_the_same_weights_is_asked(kept: Path) -> None:
    near = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    far = nn.Sequential(nn.Conv2d(1, 3, 3, padding=2, dilation=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    far.load_state_dict(near.state_dict())
    for teacher in (near, far):
        viewed(teacher, RECIPE)
    assert len(list(kept.glob("*"))) == 2


def test_each_of_several_teachers_is_asked_once_whoever_it_teaches_with(tmp_path: Path, kept: Path) -> None:
    one, two = Counting(), Counting(bias=3.0)
    alone = weights(tmp_path / "first", RECIPE, one)
    both = weights(tmp_path / "second", RECIPE, Committee([one, two]))
    assert one.images == two.images == 2 * 2 * IMAGES
    assert len(list(kept.glob("*"))) == 2
    assert both != alone


def test_what_several_teachers_say_is_the_mean_of_their_logits() -> None:
    teachers = [Counting(), Counting(bias=3.0)]
    _, _, views = viewed(Committee(teachers), RECIPE)
    batch = views.batch(torch.arange(10))
    asked = teachers[0].asked[0][:10]
    expected = sum(teacher(asked) for teacher in teachers) / 2
    assert batch.advice is not None
    torch.testing.assert_close(batch.advice, expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(Committee(teachers)(asked), expected)


def test_kept_answers_teach_as_those_that_are_asked_for(tmp_path: Path) -> None:
    """Without augmentation a view is the images themselves, and only rounding to float16 is between the two."""
    still = replace(RECIPE, augmentation=Augmentation(shift=0, flip=False))
    asked = train("lenet", small.dataset(), replace(still, views=0), tmp_path / "a", device="cpu", teacher=Counting())
    kept = train("lenet", small.dataset(), still, tmp_path / "b", device="cpu", teacher=Counting())
    assert kept.metrics["train_loss"] == pytest.approx(asked.metrics["train_loss"], rel=1e-3)


def test_a_batch_is_of_the_images_that_the_teacher_saw_with_what_it_said_of_them() -> None:
    teacher = Counting()
    still = replace(RECIPE, augmentation=Augmentation(shift=1, flip=False))
    images, labels, views = viewed(teacher, still)
    chosen = torch.tensor([7, 3, 50])
    batch = views.batch(chosen)
    (asked,) = teacher.asked
    assert to_input(batch.images).equal(asked[chosen]) and batch.labels.equal(labels[chosen])
    assert batch.advice is not None and batch.advice.equal(Counting()(asked)[chosen].half().float())
    assert not batch.images.equal(images[chosen]), "augmented"


class Left(Counting):
    """Looks at the left half alone."""

    def said(self, x: Tensor) -> Tensor:
        return super().said(x[..., : x.shape[3] // 2]) ** 2


def test_images_are_mirrored_anew_in_each_epoch_and_the_answer_is_to_both() -> None:
    teacher = Left()
    _, _, views = viewed(teacher, replace(RECIPE, views=1))
    chosen = torch.arange(50)
    batches = [views.batch(chosen)]
    views.begin(1)
    batches.append(views.batch(chosen))
    view, mirrored = (each[chosen] for each in teacher.asked)
    turned = [(to_input(batch.images) != view).flatten(1).any(1) for batch in batches]
    assert not turned[0].equal(turned[1])
    for batch, which in zip(batches, turned, strict=True):
        assert to_input(batch.images).equal(torch.where(which[:, None, None, None], mirrored, view))
        assert batch.advice is not None
        torch.testing.assert_close(batch.advice, (teacher.said(view) + teacher.said(mirrored)) / 2, atol=2e-3, rtol=0)


def test_a_training_goes_on_in_the_view_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights(tmp_path / "whole", RECIPE, Counting())
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(KeyboardInterrupt):
            weights(tmp_path / "halves", RECIPE, Counting())
    assert weights(tmp_path / "halves", RECIPE, Counting(), resume=True) == whole


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x02\0\0\0\0\0\0\0{}"], ids=["empty", "text", "no tensor"])
def test_broken_answers_are_one_line(content: bytes, tmp_path: Path, kept: Path) -> None:
    weights(tmp_path / "first", replace(RECIPE, epochs=1), Counting())
    (file,) = kept.glob("*/0.safetensors")
    file.write_bytes(content)
    with pytest.raises(BadFileError, match=r"^cannot read a teacher's answers from [^\n]+; remove that file$"):
        weights(tmp_path / "second", replace(RECIPE, epochs=1), Counting())


def test_answers_to_another_number_of_images_are_refused(tmp_path: Path, kept: Path) -> None:
    weights(tmp_path / "first", replace(RECIPE, epochs=1), Counting())
    weights(tmp_path / "less", replace(RECIPE, epochs=1, validation=0.5), Counting())
    files = sorted(kept.glob("*/0.safetensors"), key=lambda path: path.stat().st_size)
    files[1].write_bytes(files[0].read_bytes())
    with pytest.raises(BadFileError, match=f"holds no answers to {IMAGES} images; remove that file"):
        weights(tmp_path / "second", replace(RECIPE, epochs=1), Counting())


def test_views_without_a_teacher_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="views is 2, but views are for a teacher's answers"):
        train("lenet", small.dataset(), replace(RECIPE, distillation=0.0), tmp_path, device="cpu")
    assert main(["train", "--model", "lenet", "--data", "digits", "--views", "2"]) == 2
    assert "--views is for a teacher's answers; give --teacher NAME or FILE" in capsys.readouterr().err
