"""Ctrl-C in the middle of a training in this process."""

from __future__ import annotations

from typing import Any

import pytest

from edgecnn.train.epoch import Trainer


def stop_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a training ends by Ctrl-C in the epoch after so many."""
    one_epoch = Trainer.one_epoch

    def interrupted(self: Trainer, epoch: int, progress: Any) -> tuple[float, float]:
        result = one_epoch(self, epoch, progress)
        if epoch == epochs:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Trainer, "one_epoch", interrupted)
