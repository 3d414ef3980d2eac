"""Two scores side by side."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.errors import UsageError
from edgecnn.measure.accuracy import Score
from edgecnn.measure.comparison import ClassChange, Comparison
from edgecnn.measure.stats import mcnemar, paired_change

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])


def test_comparison() -> None:
    first = Score(np.array([0, 0, 0, 1, 1, 1, 1, 1, 2, 0]), LABELS)
    second = Score(np.array([0, 2, 2, 1, 1, 1, 1, 1, 2, 2]), LABELS)
    comparison = Comparison(first, second)
    assert comparison.images == 10
    assert comparison.change == pytest.approx(-10.0)
    assert (comparison.only_first, comparison.only_second) == (2, 1)
    assert comparison.agreement == 0.7
    assert comparison.interval == paired_change(2, 1, 10)
    assert comparison.p_value == mcnemar(2, 1)
    assert comparison.by_class(3) == [
        ClassChange(4, 3, 1, (1, 1), (2, 2)),
        ClassChange(4, 4, 4, None, None),
        ClassChange(2, 1, 2, (0, 1), None),
    ]


def test_scores_of_other_images_are_refused() -> None:
    first = Score(LABELS, LABELS)
    with pytest.raises(UsageError, match="different images"):
        Comparison(first, Score(LABELS[::-1], LABELS[::-1]))
    with pytest.raises(UsageError, match=r"different images \(10 and 5\)"):
        Comparison(first, Score(LABELS[:5], LABELS[:5]))
