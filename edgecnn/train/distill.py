"""Distillation: learning from what another network says of the same images, beside what the labels say.

G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network" (2015).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn import checkpoint, models
from edgecnn.data.dataset import DataSet
from edgecnn.errors import BadFileError

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


def load_teacher(teacher: Path, data: DataSet) -> tuple[nn.Module, dict[str, Any]]:
    """The network in a weights file, to learn the classes of ``data`` from, and how the file says that it was made.

    The name of a model whose weights ship for ``data`` means those. Raises BadFileError if it knows other classes,
    UnknownNameError for a name that means none.
    """
    named = {name: path for name in models.names() if (path := checkpoint.shipped(name, data.name)) is not None}
    checkpoint.check_known("teacher", teacher, named)
    path = named.get(str(teacher), teacher)
    network, header = checkpoint.load_model(path)
    there = (*header.arguments.image_size, header.arguments.in_channels)
    if there != data.image:
        raise BadFileError(f"{path} is a teacher for images of {_size(there)}, but {data.name} has {_size(data.image)}")
    if header.classes != data.classes:
        raise BadFileError(
            f"{path} is a teacher for the {len(header.classes)} classes of {header.dataset}, not for the "
            f"{len(data.classes)} of {data.name}; give one that was trained on {data.name}"
        )
    return network, header.origin


def _size(image: tuple[int, ...]) -> str:
    return "x".join(map(str, image))
