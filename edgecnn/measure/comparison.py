"""Two models on the same images: what changed, and whether it could be chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecnn.errors import UsageError
from edgecnn.measure import stats
from edgecnn.measure.accuracy import Score, confusion, per_class


@dataclass(frozen=True)
class ClassChange:
    """One class: its images, how many each model had right, and each model's commonest mistake (class, times)."""

    images: int
    first: int
    second: int
    first_mistake: tuple[int, int] | None
    second_mistake: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores of two models on the same images in the same order. Raises UsageError when the labels differ."""

    first: Score
    second: Score

    def __post_init__(self) -> None:
        if not np.array_equal(self.first.labels, self.second.labels):
            raise UsageError(
                f"the scores are of different images ({self.first.images} and {self.second.images}); "
                "score both models on the same images in the same order"
            )

    @property
    def images(self) -> int:
        """Number of images."""
        return self.first.images

    @property
    def change(self) -> float:
        """Accuracy of the second minus that of the first, in points (per cent of images)."""
        return 100 * (self.second.right - self.first.right) / self.images

    @property
    def only_first(self) -> int:
        """Images that the first model alone had right."""
        return int((self.first.correct & ~self.second.correct).sum())

    @property
    def only_second(self) -> int:
        """Images that the second model alone had right."""
        return int((self.second.correct & ~self.first.correct).sum())

    @property
    def interval(self) -> stats.Interval:
        """95 % paired interval of ``change``, in points; see stats.paired_change."""
        return stats.paired_change(self.only_first, self.only_second, self.images)

    @property
    def agreement(self) -> float:
        """Share of images, 0 to 1, that both models put in the same class."""
        return stats.agreement(self.first.predictions, self.second.predictions)

    @property
    def p_value(self) -> float:
        """Exact McNemar p-value that both are equally accurate; see stats.mcnemar."""
        return stats.mcnemar(self.only_first, self.only_second)

    def by_class(self, classes: int) -> list[ClassChange]:
        """What each model did with each class, in order of class."""
        first, second = confusion(self.first, classes), confusion(self.second, classes)
        right_first, images = per_class(self.first, classes)
        right_second, _ = per_class(self.second, classes)
        return [
            ClassChange(
                int(images[label]), int(right_first[label]), int(right_second[label]),
                _commonest_mistake(first[label], label), _commonest_mistake(second[label], label),
            )
            for label in range(classes)
        ]  # fmt: skip


def _commonest_mistake(row: np.ndarray, label: int) -> tuple[int, int] | None:
    mistakes = row.copy()
    mistakes[label] = 0
    taken_for = int(mistakes.argmax())
    return (taken_for, int(mistakes[taken_for])) if mistakes[taken_for] else None
