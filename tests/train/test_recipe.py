"""Settings are checked when they are put together, and every one is recorded."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest

from edgecnn.data.augment import Augmentation
from edgecnn.data.mix import Mixing
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
    augmentation = Augmentation(shift=2, flip=False, cutout=6, operations=1)
    recorded = TrainRecipe(augmentation=augmentation, mixing=Mixing(cutmix=0.5), seed=5).to_json()
    assert set(recorded) == {field.name for field in fields(TrainRecipe)}
    assert recorded["augmentation"] == {"shift": 2, "flip": False, "cutout": 6, "operations": 1}
    assert recorded["mixing"] == {"mixup": 0.0, "cutmix": 0.5}
    assert json.loads(json.dumps(recorded)) == recorded


def test_settings_that_are_newer_than_what_recorded_the_others_count_as_their_defaults() -> None:
    new = TrainRecipe(epochs=7, augmentation=Augmentation(shift=2, flip=False, cutout=6), seed=5).to_json()
    old = {name: value for name, value in new.items() if name not in ("mixing", "distillation")}
    old |= {"augmentation": {"shift": 2, "flip": False, "cutout": 6}, "teacher": "abc"}
    assert completed(old) == new | {"teacher": "abc"}
    mixed = TrainRecipe(mixing=Mixing(mixup=0.2)).to_json()
    assert completed(mixed) == mixed


def test_a_training_that_goes_on_augments_as_before_and_does_not_mix() -> None:
    recipe = TrainRecipe(augmentation=Augmentation(shift=1, operations=2), mixing=Mixing(mixup=0.2))
    taken = TrainRecipe(**as_before(recipe.to_json(), mirrorable=True))
    assert taken.augmentation == recipe.augmentation
    assert not taken.mixing
