"""Deeper networks out of trained ones: between their blocks, others that do nothing yet.

A block that is added to its input adds zero as long as the factors of its last BatchNorm are zero. So the deeper
network begins with the answers of the other (T. Chen, I. Goodfellow, J. Shlens, "Net2Net", 2016; the zeros are those of
P. Goyal et al., "Accurate, large minibatch SGD", 2017).
"""

from __future__ import annotations

from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.models.blocks import Residual
from edgecnn.models.design import Design, Inverted
from edgecnn.models.edge import DESIGNS
from edgecnn.models.registry import is_design


def design_of(name: str) -> Design | None:
    """The design of the model ``name``; None for one that has none."""
    text = DESIGNS.get(name, name)
    return Design.parse(text) if is_design(text) else None


def blocks_kept(design: Design, deeper: Design, in_channels: int) -> dict[str, str]:
    """How the blocks of ``design`` are called in ``deeper``, by the names of their modules.

    Raises UsageError unless ``deeper`` has the same blocks in the same order, and between them only such as are added
    to their input.
    """
    refused = UsageError(f"'{deeper}' is not '{design}' with more blocks, each of which is added to its input")
    left = list(design.blocks(in_channels).items())
    kept: dict[str, str] = {}
    for name, block in deeper.blocks(in_channels).items():
        if left and left[0][1] == block:
            kept[left.pop(0)[0]] = name
        elif not block.adds:
            raise refused
    if left:
        raise refused
    return kept


def deepened(network: nn.Module, deeper: nn.Module, kept: dict[str, str]) -> dict[str, Tensor]:
    """The weights with which ``deeper``, whose blocks are fresh, answers as ``network`` does; ``kept`` as above."""
    for name, block in deeper.named_children():
        if name not in kept.values() and isinstance(block, Residual | Inverted):
            block.silence()
    tensors = deeper.state_dict()
    for name, tensor in network.state_dict().items():
        first, _, rest = name.partition(".")
        tensors[f"{kept.get(first, first)}.{rest}"] = tensor
    return tensors
