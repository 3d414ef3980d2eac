"""Seeds of all that training draws, from (seed, epoch, stream): no epoch depends on what was drawn before it."""

from __future__ import annotations

import numpy as np

# Streams of random numbers; those of a process add its rank.
ORDER, AUGMENT, DROPOUT, VIEW = 0, 1, 1001, 2001


def seed(training: int, epoch: int, stream: int) -> int:
    """The seed of one stream in one epoch (or view) of the training with the seed ``training``."""
    return int(np.random.SeedSequence((training, epoch, stream)).generate_state(1)[0])
