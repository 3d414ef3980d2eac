"""What a search was asked for; workers and searches that go on must be asked for the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgecnn.data.augment import Augmentation
from edgecnn.errors import UsageError
from edgecnn.search.objectives import BYTES, COSTS, LATENCY, MACS
from edgecnn.search.space import OPTIMIZER, digest
from edgecnn.train import TrainRecipe
from edgecnn.train.recipe import warm_up

FEWEST_EPOCHS = 2
REFERENCE = "resnet8"  # whose file, with fresh weights, each latency is held against


@dataclass(frozen=True)
class Asked:
    """``objectives`` as ``objectives.parse`` gives them, on the data set ``data``, each trial trained for ``epochs``.

    ``target`` is where latency is measured, and ``bounds`` are the most that a trial may cost: bytes of its
    static_w8a8 TFLite file, multiply-accumulates, latency as a share of REFERENCE's. ``image`` is (height, width,
    channels) of the data's images, which a folder's are brought to; None where it is not known yet. Raises UsageError
    for what makes no search.
    """

    objectives: tuple[str, ...]
    data: str
    epochs: int = 9
    batch_size: int = 256
    validation: float = 0.1
    target: str = "local"
    bounds: Mapping[str, float] = field(default_factory=dict)
    precision: str = "float32"
    compile: bool = False
    seed: int = 0
    image: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for name, most in self.bounds.items():
            if not 0 < most < math.inf:
                raise UsageError(f"--max-{name} is {most:g}, but must be above 0")
        if self.epochs < FEWEST_EPOCHS:
            raise UsageError(
                f"epochs is {self.epochs}, but a trial that is pruned needs one before that and one after; give "
                f"{FEWEST_EPOCHS} or more"
            )
        if not 0 < self.validation < 1:
            raise UsageError(
                f"validation is {self.validation}, but a search chooses on held-out training images: give a fraction "
                "above 0, below 1"
            )
        self.training({}, mirrorable=True)

    @property
    def priced(self) -> tuple[str, ...]:
        """The costs that must be known of a trial."""
        return tuple(name for name in COSTS if name == MACS or name in self.objectives or name in self.bounds)

    @property
    def needs_file(self) -> bool:
        """Whether a file must be made before a trial is trained."""
        return BYTES in self.priced or self.timed

    @property
    def timed(self) -> bool:
        """Whether latency is measured."""
        return LATENCY in self.priced

    def training(self, changes: Mapping[str, Any], mirrorable: bool) -> TrainRecipe:
        """The training of a trial whose recipe ``changes`` something. Raises UsageError, naming the setting."""
        return TrainRecipe(
            epochs=self.epochs, batch_size=self.batch_size, validation=self.validation, seed=self.seed,
            optimizer=OPTIMIZER, precision=self.precision, compile=self.compile,
            warmup_epochs=warm_up(self.epochs), augmentation=Augmentation(flip=mirrorable), **changes,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As JSON values, with what tells the searched space from others."""
        value = asdict(self) | {"objectives": list(self.objectives), "bounds": dict(self.bounds), "space": digest()}
        return value | {"image": None if self.image is None else list(self.image)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Asked:
        """The inverse of ``to_json`` of the same edgecnn."""
        known = {name: each for name, each in value.items() if name != "space"}
        image = known.get("image")
        return cls(
            **known | {"objectives": tuple(known["objectives"]), "image": None if image is None else tuple(image)}
        )
