"""Scoring a PyTorch model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn import models
from edgecnn.data.augment import to_input
from edgecnn.evaluate import BATCH, predictor, score_model
from tests.train import small


def test_logits_are_those_of_the_model_in_evaluation_mode() -> None:
    model = models.create("depthwise").train()
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    logits = predictor(model)(images)
    assert model.training, "left as it was"
    assert (logits.dtype, logits.shape) == (np.float32, (5, 10))
    with torch.no_grad():
        np.testing.assert_array_equal(logits, model.eval()(to_input(torch.from_numpy(images))).numpy())
    predictor(model)(images)
    assert not model.training


@pytest.mark.parametrize("limit", [None, BATCH + 1])
def test_a_score_counts_the_images_asked_for(limit: int | None) -> None:
    class Brightest(nn.Module):
        """Which of the upper and the lower half is brighter; else class 2."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            top, bottom = images[:, 0, :8].mean((1, 2)), images[:, 0, 8:].mean((1, 2))
            return torch.stack([top - bottom, bottom - top, torch.full_like(top, 0.5)], 1)

    split = small.split(2 * BATCH + 30, seed=0)
    score = score_model(Brightest(), split, limit=limit)
    assert score.images == (limit or len(split))
    assert score.accuracy == 1.0
