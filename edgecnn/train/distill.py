"""Distillation: learning from what another network says of the same images, beside what the labels say.

G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network" (2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgecnn import checkpoint, models
from edgecnn.data.dataset import DataSet
from edgecnn.errors import BadFileError, UsageError

TEMPERATURE = 2.0
TOGETHER = "together"  # in what is known of several teachers: what is known of each


class Committee(nn.Module):
    """Several teachers as one: the mean of their logits [n, classes]."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] for images [n, channels, height, width]."""
        return torch.stack([member(images) for member in self.members]).mean(0)


def members(teacher: nn.Module) -> list[nn.Module]:
    """The networks that a teacher is: those of a committee, or itself."""
    return list(teacher.members) if isinstance(teacher, Committee) else [teacher]


def identity(teacher: nn.Module) -> str:
    """The digests of the networks that a teacher is, joined by '+'."""
    return "+".join(map(checkpoint.digest, members(teacher)))


def divergence(logits: Tensor, teacher: Tensor) -> Tensor:
    """How far logits [n, classes] are from the teacher's: Kullback-Leibler at TEMPERATURE, times its square.

    The square makes gradients as large as those of cross-entropy.
    """
    ours, theirs = (F.log_softmax(each.float() / TEMPERATURE, 1) for each in (logits, teacher))
    return TEMPERATURE**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def prepared(teacher: nn.Module) -> nn.Module:
    """The teacher as it is asked: as it is used, and with nothing of it to train."""
    return teacher.eval().requires_grad_(False)


def load_teachers(teachers: Sequence[Path], data: DataSet) -> tuple[nn.Module, dict[str, Any]]:
    """The networks in one or more weights files as one teacher of the classes of ``data``, and how they were made.

    The name of a model whose weights ship for ``data`` means those. Raises BadFileError for a network that knows other
    classes, UnknownNameError for a name that means none.
    """
    found = [_load(teacher, data) for teacher in teachers]
    if len(found) == 1:
        return found[0]
    return Committee(network for network, _ in found), {TOGETHER: [origin for _, origin in found]}


def _load(teacher: Path, data: DataSet) -> tuple[nn.Module, dict[str, Any]]:
    named = {name: path for name in models.known() if (path := checkpoint.shipped(name, data.name)) is not None}
    checkpoint.check_known("teacher", teacher, named)
    path = named.get(str(teacher), teacher)
    header, tensors = checkpoint.load(path)
    if models.runs_code(header.model):
        raise UsageError(
            f"{path} holds weights of '{header.model}', which is code of yours: it cannot teach. A teacher is one of "
            "the models that 'edgecnn models' lists, or from torchvision or timm"
        )
    network, header = checkpoint.model_of(path, header, tensors)
    there = (*header.arguments.image_size, header.arguments.in_channels)
    if there != data.image:
        raise BadFileError(f"{path} is a teacher for images of {_size(there)}, but {data.name} has {_size(data.image)}")
    if header.classes != data.classes or header.arguments.num_classes != len(data.classes):
        raise BadFileError(
            f"{path} is a teacher for the {header.arguments.num_classes} classes of {header.dataset}, not for the "
            f"{len(data.classes)} of {data.name}; give one that was trained on {data.name}"
        )
    return network, header.origin


def _size(image: tuple[int, ...]) -> str:
    return "x".join(map(str, image))
