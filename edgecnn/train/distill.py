"""Distillation: learning from what another network says of the same images, beside what the labels say.

G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network" (2015).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 2.0


def divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    """How far logits [n, classes] are from the teacher's: Kullback-Leibler at TEMPERATURE, times its square.

    The square makes gradients as large as those of cross-entropy.
    """
    ours, theirs = (F.log_softmax(each.float() / TEMPERATURE, 1) for each in (logits, teacher))
    return TEMPERATURE**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def prepared(teacher: nn.Module) -> nn.Module:
    """The teacher as it is asked: as it is used, and with nothing of it to train."""
    return teacher.eval().requires_grad_(False)
