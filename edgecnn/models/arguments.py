"""What every architecture is built from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgecnn.errors import UsageError
from edgecnn.runtime.preprocess import LARGEST_SIDE

MOST_CLASSES, MOST_CHANNELS = 100_000, 1024  # what a file may ask us to make room for is bounded


@dataclass(frozen=True)
class ModelArguments:
    """What every architecture is built from: classes, input channels and image size (height, width) in pixels."""

    num_classes: int = 10
    in_channels: int = 3
    image_size: tuple[int, int] = (32, 32)

    def __post_init__(self) -> None:
        if self.num_classes < 2 or self.in_channels < 1 or min(self.image_size) < 1:
            raise UsageError(f"{self} cannot be built: at least 2 classes, 1 channel and 1x1 pixels are needed")
        if (
            self.num_classes > MOST_CLASSES or self.in_channels > MOST_CHANNELS
            or max(self.image_size) > LARGEST_SIDE
        ):  # fmt: skip
            raise UsageError(
                f"{self} cannot be built: at most {MOST_CLASSES:,} classes, {MOST_CHANNELS:,} channels and "
                f"{LARGEST_SIDE} pixels a side are allowed"
            )

    @classmethod
    def for_images(cls, image: tuple[int, int, int], classes: int) -> ModelArguments:
        """Those for images of (height, width, channels), as data sets have it, of so many classes."""
        height, width, channels = image
        return cls(classes, channels, (height, width))

    def to_json(self) -> dict[str, Any]:
        """The arguments as JSON values."""
        return asdict(self) | {"image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ModelArguments:
        """The inverse of ``to_json``."""
        height, width = value["image_size"]
        return cls(int(value["num_classes"]), int(value["in_channels"]), (int(height), int(width)))
