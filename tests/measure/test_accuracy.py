"""Scoring, confusion and classes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from edgecnn.errors import UsageError
from edgecnn.measure.accuracy import Score, confusion, per_class, score
from edgecnn.runtime.fake import FakeRunner

SIZE = (8, 8, 3)


def pictures(labels: np.ndarray) -> np.ndarray:
    """Images that a FakeRunner sees as these classes."""
    images = np.full((len(labels), *SIZE), 9, np.uint8)
    images[:, 0, 0, 0] = labels
    return images


def in_batches(labels: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(labels), size):
        yield pictures(labels[start : start + size]), labels[start : start + size]


def test_score_of_a_runner() -> None:
    labels = np.arange(10).repeat(5)
    with FakeRunner(10, SIZE, mistakes={3: 4, 7: 0}) as runner:
        result = score(runner, in_batches(labels, 7))
    assert (result.images, result.right, result.accuracy) == (50, 40, 0.8)
    assert result.predictions.dtype == np.int64
    np.testing.assert_array_equal(result.labels, labels)
    np.testing.assert_array_equal(result.correct, (labels != 3) & (labels != 7))
    cells = confusion(result, 10)
    assert cells.sum() == 50
    assert (cells[3, 4], cells[7, 0], cells[4, 3], cells[5, 5]) == (5, 5, 0, 5)
    right, images = per_class(result, 10)
    assert images.tolist() == [5] * 10
    assert right.tolist() == [5, 5, 5, 0, 5, 5, 5, 0, 5, 5]


def test_score_of_a_function_takes_the_earlier_of_equal_logits() -> None:
    result = score(lambda images: np.zeros((len(images), 4), np.float32), in_batches(np.array([0, 1, 0]), 2))
    assert result.predictions.tolist() == [0, 0, 0]


def test_images_are_let_go_before_the_next_batch() -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(5):
            labels = np.arange(3)
            images = pictures(labels)
            assert sum(reference() is not None for reference in alive) <= 1
            alive.append(weakref.ref(images))
            yield images, labels
            del images

    with FakeRunner(10, SIZE) as runner:
        assert score(runner, batches()).images == 15
    assert len(alive) == 5


def test_nothing_to_score_nan_and_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="no images"):
        score(FakeRunner(10, SIZE), [])
    with pytest.raises(UsageError, match="NaN"):
        score(lambda images: np.full((len(images), 4), np.nan, np.float32), in_batches(np.array([0, 1]), 2))
    with pytest.raises(UsageError, match=r"predictions \[2\] and labels \[3\]"):
        Score(np.zeros(2, np.int64), np.zeros(3, np.int64))
