"""Scoring: what a model says about labelled images, and nothing else about them is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgecnn.errors import UsageError
from edgecnn.runtime.classify import predict
from edgecnn.runtime.runner import Runner

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Score:
    """The predicted and the true class of every image, both int64 [n]. Raises UsageError unless they fit."""

    predictions: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.labels.ndim != 1 or self.predictions.shape != self.labels.shape or len(self.labels) == 0:
            raise UsageError(
                f"predictions {list(self.predictions.shape)} and labels {list(self.labels.shape)} cannot be scored; "
                "both must be [n] with at least one image"
            )

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """Which images were right, bool [n]."""
        return np.equal(self.predictions, self.labels)

    @property
    def right(self) -> int:
        """How many images were right."""
        return int(self.correct.sum())

    @property
    def accuracy(self) -> float:
        """Share of images that were right, 0 to 1."""
        return self.right / self.images


def score(model: Runner | Predict, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> Score:
    """Score one Runner, or a function from images to logits [n, classes]; see score_together."""
    return score_together({"": model}, batches)[""]


def score_together(
    models: Mapping[str, Runner | Predict], batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> dict[str, Score]:
    """Score several models on (images, labels) batches in one pass over them.

    Images are uint8 [n, height, width, channels]; a batch is let go before the next is asked for, so memory does
    not grow with their number. Equal logits count for the earlier class. Raises UsageError when there are no
    images, or when a logit is not a number.
    """
    predictions: dict[str, list[np.ndarray]] = {name: [] for name in models}
    truths: list[np.ndarray] = []
    for images, labels in batches:
        for name, model in models.items():
            logits = model(images) if callable(model) else predict(model, images)
            if np.isnan(logits).any():
                raise UsageError(f"model {name} gave NaN as a logit; it cannot be scored, find the layer at fault")
            predictions[name].append(logits.argmax(axis=1).astype(np.int64))
        truths.append(np.asarray(labels, np.int64))
    if not truths:
        raise UsageError("there are no images to score on; give a data set or a sample with at least one")
    labels = np.concatenate(truths)
    return {name: Score(np.concatenate(parts), labels) for name, parts in predictions.items()}


def confusion(score: Score, classes: int) -> np.ndarray:
    """Counts int64 [classes, classes]: row the true class, column the predicted one."""
    cells = np.bincount(score.labels * classes + score.predictions, minlength=classes * classes)
    return cells.reshape(classes, classes)


def per_class(score: Score, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(right, images), both int64 [classes]: of how many images of each class how many were right."""
    counts = confusion(score, classes)
    return np.diagonal(counts).copy(), counts.sum(axis=1)
