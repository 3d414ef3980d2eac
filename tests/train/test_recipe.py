"""Settings are checked when they are put together, and every one is recorded."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from edgecnn import checkpoint
from edgecnn.data.augment import Augmentation
from edgecnn.errors import UsageError
from edgecnn.train import TrainRecipe
from edgecnn.train.recipe import as_before, completed


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0), ("batch_size", 0), ("learning_rate", 0.0), ("learning_rate", math.nan),
        ("learning_rate", math.inf), ("momentum", 1.0), ("weight_decay", -0.1), ("label_smoothing", 1.0),
        ("label_smoothing", math.nan), ("warmup_epochs", -1.0), ("average", 1.0), ("average", -0.1),
        ("validation", 1.0), ("validation", -0.1), ("seed", -1), ("seed", 2**63),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_training_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{setting.replace('_', ' ')} is {value}, but must be "):
        replace(TrainRecipe(), **{setting: value})


@pytest.mark.parametrize(
    ("setting", "value", "nearest"), [("optimizer", "adam", "adamw"), ("precision", "float", "float32")]
)
def test_an_unknown_choice_names_the_nearest(setting: str, value: Any, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"unknown {setting} '{value}'; did you mean '{nearest}'"):
        replace(TrainRecipe(), **{setting: value})


def test_every_setting_is_recorded_as_json() -> None:
    augmentation = Augmentation(shift=2, flip=False, cutout=6)
    recorded = TrainRecipe(augmentation=augmentation, seed=5).to_json()
    assert set(recorded) == {field.name for field in fields(TrainRecipe)}
    assert recorded["augmentation"] == {"shift": 2, "flip": False, "cutout": 6}
    assert json.loads(json.dumps(recorded)) == recorded


def test_settings_that_are_newer_than_what_recorded_the_others_count_as_their_defaults() -> None:
    new = TrainRecipe(epochs=7, augmentation=Augmentation(shift=2, flip=False, cutout=6), seed=5).to_json()
    old = {name: value for name, value in new.items() if name not in ("views", "distillation")}
    old |= {"augmentation": {"shift": 2, "flip": False}, "teacher": "abc"}
    assert completed(old) == completed(
        new | {"augmentation": {"shift": 2, "flip": False, "cutout": 0}, "teacher": "abc"}
    )


def recorded(operations: int, mixup: float) -> dict[str, Any]:
    """Settings as they were recorded while images could be mixed."""
    recipe = TrainRecipe(augmentation=Augmentation(shift=1, flip=False), label_smoothing=0.3).to_json()
    recipe["augmentation"] |= {"operations": operations, "cutmix": 0.0}
    return recipe | {"mixing": {"mixup": mixup, "cutmix": 0.0}}


def test_what_is_gone_counts_as_what_recordings_say_of_it_and_else_as_none_of_it() -> None:
    today = TrainRecipe(augmentation=Augmentation(shift=1, flip=False), label_smoothing=0.3).to_json()
    assert completed(today) == completed(recorded(0, 0.0)) == recorded(0, 0.0)
    assert completed(recorded(2, 0.2)) == recorded(2, 0.2)


def test_a_training_that_goes_on_augments_as_before_and_leaves_out_what_is_gone() -> None:
    taken = as_before(recorded(operations=2, mixup=0.2), mirrorable=True)
    assert taken == {"augmentation": Augmentation(shift=1, flip=False), "label_smoothing": 0.3, "dropout": None}
    assert TrainRecipe(**taken).augmentation.shift == 1


@pytest.mark.parametrize("mirrorable", [True, False])
def test_where_nobody_knows_how_images_were_augmented_the_data_set_says_whether_they_are_mirrored(
    mirrorable: bool,
) -> None:
    taken = {"augmentation": Augmentation(flip=mirrorable), "label_smoothing": 0.0, "dropout": None}
    assert as_before({}, mirrorable) == taken


@pytest.mark.parametrize(
    "path",
    sorted(checkpoint.shipped_folder().glob("*/*.safetensors")),
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_training_goes_on_from_everything_that_ships(path: Path) -> None:
    recipe = checkpoint.load(path)[0].recipe
    taken = TrainRecipe(**as_before(recipe, mirrorable=True))
    assert taken.augmentation.shift == recipe["augmentation"]["shift"]
    assert taken.augmentation.flip == recipe["augmentation"]["flip"]


def test_views_are_for_a_teachers_answers() -> None:
    with pytest.raises(UsageError, match="views is 2, but views are for a teacher's answers; set it to 0"):
        TrainRecipe(views=2)
    assert TrainRecipe(views=2, distillation=0.5).views == 2
