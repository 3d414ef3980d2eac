"""Training: images to weights.

``loop`` tells the story; the other rooms are what it stands on: ``recipe`` (the settings), ``start`` (weights to go on
from), ``processes`` (this process among torchrun's), ``optimize`` (optimizer, schedule, average), ``state`` (all that
changes), ``epoch`` (one pass over the images), ``batch`` (what a step learns from), ``views`` (where it comes from),
``distill`` (what a teacher adds), ``randomness`` (seeds), ``folder`` (files of a run) and ``progress`` (what is seen of
it).
"""

from edgecnn.train.folder import CHECKPOINT, CURVE, WEIGHTS
from edgecnn.train.loop import Task, run, train
from edgecnn.train.processes import choose_device
from edgecnn.train.recipe import TrainRecipe

__all__ = ["CHECKPOINT", "CURVE", "WEIGHTS", "Task", "TrainRecipe", "choose_device", "run", "train"]
