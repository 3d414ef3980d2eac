"""Scoring a PyTorch model on a split, image batch by image batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from edgecnn.data.augment import to_input
from edgecnn.data.dataset import Split, batches
from edgecnn.measure.accuracy import Score, score

BATCH = 500


def predictor(model: nn.Module, device: torch.device | str = "cpu") -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 [n, height, width, channels] to logits float32 [n, classes].

    It scores in evaluation mode and leaves ``model``, which lies on ``device``, in the mode it was in.
    """

    def predict(images: np.ndarray) -> np.ndarray:
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            logits = model(to_input(torch.from_numpy(images).to(device))).float().cpu().numpy()
        model.train(was_training)
        return np.asarray(logits)

    return predict


def score_model(model: nn.Module, split: Split, device: torch.device | str = "cpu", limit: int | None = None) -> Score:
    """Predictions and correctness on the first ``limit`` images of ``split`` (all when None)."""
    return score(predictor(model, device), batches(split, BATCH, limit))
