"""The settings of a training run, checked as soon as they are put together."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgecnn.data.augment import Augmentation
from edgecnn.errors import BadFileError, UnknownNameError, UsageError

# Peak learning rate and weight decay that suit each optimizer. Muon's were found on held-out images of CIFAR-10.
OPTIMIZERS: dict[str, dict[str, float]] = {
    "sgd": {"learning_rate": 0.1, "weight_decay": 5e-4},
    "adamw": {"learning_rate": 0.003, "weight_decay": 0.05},
    "muon": {"learning_rate": 0.05, "weight_decay": 0.05},
}
PRECISIONS = ("float32", "bfloat16")
WARM_UP = 0.2

# Settings that brought nothing (benchmarks/ablations/recipe.py) and were taken out, at what stood for none of them:
# trainings recorded them, and those that went without are still gone on from.
GONE: dict[str, dict[str, float]] = {
    "augmentation": {"operations": 0, "cutmix": 0.0}, "mixing": {"mixup": 0.0, "cutmix": 0.0},
}  # fmt: skip


@dataclass(frozen=True)
class TrainRecipe:
    """All settings of a training run; the same settings on the same machine give the same weights.

    ``batch_size`` counts the images of a step over all processes. ``learning_rate`` is the peak, reached after
    ``warmup_epochs``. ``average`` is the decay of the exponential moving average of the weights, which is what is kept.
    ``distillation`` is the share of the loss that comes from a teacher; with ``views`` it is asked about as many
    augmented copies of all images, which come back in turn, and with 0 about every batch. ``dropout`` is the
    probability in the model's dropout layers, None for the one they are made with. ``precision`` is 'float32' or
    'bfloat16' (autocast). ``validation`` is the fraction of the training images held out; the test images are then not
    touched.
    Raises UnknownNameError or UsageError, naming the setting, for a value that makes no training.
    """

    epochs: int = 60
    batch_size: int = 256
    optimizer: str = "muon"
    learning_rate: float = OPTIMIZERS["muon"]["learning_rate"]
    momentum: float = 0.9
    weight_decay: float = OPTIMIZERS["muon"]["weight_decay"]
    label_smoothing: float = 0.1
    distillation: float = 0.0
    views: int = 0
    warmup_epochs: float = 2.0
    average: float = 0.998
    dropout: float | None = None
    augmentation: Augmentation = Augmentation()
    precision: str = "float32"
    compile: bool = False
    validation: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        suited(self.optimizer)
        if self.precision not in PRECISIONS:
            raise UnknownNameError("precision", self.precision, PRECISIONS)
        # Written so that NaN, which compares false with everything, is refused too.
        checks = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "learning_rate": (0 < self.learning_rate < math.inf, "above 0"),
            "momentum": (0 <= self.momentum < 1, "0 or more, below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 or more, below 1"),
            "distillation": (0 <= self.distillation <= 1, "a share of the loss: 0 to 1"),
            "views": (self.views >= 0, "0 or more"),
            "warmup_epochs": (0 <= self.warmup_epochs < math.inf, "0 or more"),
            "average": (0 <= self.average < 1, "a decay: 0 or more, below 1"),
            "dropout": (self.dropout is None or 0 <= self.dropout < 1, "a probability: 0 or more, below 1"),
            "validation": (0 <= self.validation < 1, "a fraction of the training images: 0 or more, below 1"),
            "seed": (0 <= self.seed < 2**63, "0 or more, below 2^63"),
        }
        for name, (good, allowed) in checks.items():
            if not good:
                raise UsageError(f"{name.replace('_', ' ')} is {getattr(self, name)}, but must be {allowed}")
        if self.views and self.distillation == 0:
            raise UsageError(f"views is {self.views}, but views are for a teacher's answers; set it to 0")

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values, as a weights file records them."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value


def suited(optimizer: str) -> dict[str, Any]:
    """The ``optimizer`` with the learning rate and weight decay that suit it. Raises UnknownNameError."""
    if optimizer not in OPTIMIZERS:
        raise UnknownNameError("optimizer", optimizer, OPTIMIZERS)
    return {"optimizer": optimizer, **OPTIMIZERS[optimizer]}


def warm_up(epochs: int) -> float:
    """Epochs of warm-up in a training of so many: the recipe's, or WARM_UP of a short one, all of which it could be."""
    return min(TrainRecipe.warmup_epochs, WARM_UP * epochs)


def as_before(settings: Mapping[str, Any], mirrorable: bool) -> dict[str, Any]:
    """What a training that goes on from weights takes over from their ``settings``, as a weights file records them.

    Images are augmented, labels smoothed and values dropped as they were; where nobody knows, images are mirrored if
    they are ``mirrorable``. What is ``GONE`` is left out, whatever it was. Raises BadFileError for settings that no
    edgecnn recorded.
    """
    known = settings.get("augmentation", {"flip": mirrorable})
    augmentation = {name: value for name, value in known.items() if name not in GONE["augmentation"]}
    try:
        augmented = Augmentation(**augmentation)
    except TypeError as error:
        raise BadFileError(f"the weights were trained with an augmentation that is not known here ({error})") from error
    return {
        "augmentation": augmented, "label_smoothing": settings.get("label_smoothing", 0.0),
        "dropout": settings.get("dropout"),
    }  # fmt: skip


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded ``settings`` with those that did not exist when they were recorded, each at what it was without saying.

    That goes for those that are ``GONE`` as well.
    """
    whole = TrainRecipe().to_json()
    for name, value in (*GONE.items(), *settings.items()):
        default = whole.get(name, {})
        whole[name] = default | value if isinstance(default, dict) and isinstance(value, dict) else value
    return whole


def check_batch(images: int, batch_size: int) -> None:
    """Raise UsageError where a batch would hold more than all ``images`` that are trained on."""
    if images == 0:
        raise UsageError("no training image is left to train on; hold out fewer with --validation")
    if images < batch_size:
        fitting = 1 << max(0, images.bit_length() - 1)
        raise UsageError(
            f"a batch of {batch_size} is more than the {images} training images; give --batch-size {fitting}"
        )
