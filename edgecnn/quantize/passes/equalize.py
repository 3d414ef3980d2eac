"""``equalize``: channels that reach far and channels that hardly move are brought to one size, exactly.

A ReLU lets a positive factor through, so a channel of one layer can be divided by it and the next layer's weights for
that channel multiplied: the model computes the same. The factor makes the channel's largest weight equal on both sides,
which gives every channel the most of the one range that its tensor is quantized with. M. Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction" (2019), section 4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from edgecnn.quantize.graph import module_of
from edgecnn.quantize.layers import GlobalMean, ZeroPad
from edgecnn.quantize.passes.flatten import is_flatten

ROUNDS = 40  # at most; each brings neighbours to one size, and so disturbs their other neighbours
SETTLED = 1e-3  # the largest change of a factor's logarithm in a round
LIMIT = 1e8  # of a factor in a round: what is larger comes from a channel that is switched off
_THROUGH = (nn.AvgPool2d, nn.MaxPool2d, GlobalMean, ZeroPad)  # these, too, let a positive factor through

Layer = nn.Conv2d | nn.Linear
Pair = tuple[Layer, Layer]


def equalize(graph_module: fx.GraphModule) -> None:
    """Equalize every two layers between which there is nothing but a ReLU, pools and a flattening.

    Where a value is used twice, or goes through a tanh, a ReLU6 or an addition, its channels stay as they are.
    """
    found = pairs(graph_module)
    for _ in range(ROUNDS):
        if max((_balance(*pair) for pair in found), default=0.0) < SETTLED:
            return


def pairs(graph_module: fx.GraphModule) -> list[Pair]:
    """Every two layers of a folded graph between which channels may be scaled, in the order of execution."""
    found = (_pair(graph_module, node) for node in graph_module.graph.nodes)
    return [pair for pair in found if pair is not None]


def scale(first: Layer, second: Layer, factors: Tensor) -> None:
    """Divide the channels that one layer of a pair gives the other by ``factors`` [channels], all above 0."""
    with torch.no_grad():
        first.weight /= factors.view(-1, *[1] * (first.weight.dim() - 1))
        if first.bias is not None:
            first.bias /= factors
        _by_channel(second, len(factors)).mul_(factors.view(1, -1, 1))


def _pair(graph_module: fx.GraphModule, node: fx.Node) -> Pair | None:
    """The layer at ``node`` and the one that alone takes what it gives; None where a factor would not get through."""
    first = module_of(graph_module, node)
    if not isinstance(first, nn.Conv2d | nn.Linear) or hasattr(first, "keeps_grid"):
        return None  # what it gives lies on the image's grid, which is fixed
    flattened = False
    while len(node.users) == 1:
        node = next(iter(node.users))
        second = module_of(graph_module, node)
        if isinstance(second, nn.Conv2d | nn.Linear):
            return (first, second) if _takes_channels(first, second, flattened) else None
        flattens = is_flatten(graph_module, node)
        flattened = flattened or flattens
        image = isinstance(first, nn.Conv2d) and (flattens or isinstance(second, _THROUGH))
        if not (image or isinstance(second, nn.ReLU) or node.target in (F.relu, torch.relu)):
            return None
    return None


def _takes_channels(first: Layer, second: Layer, flattened: bool) -> bool:
    """Whether what are channels to the one are channels, each for itself or all together, to the other.

    A linear layer on an image that was not flattened takes its columns, one behind it gives them.
    """
    if isinstance(second, nn.Linear):
        return flattened == isinstance(first, nn.Conv2d)
    return isinstance(first, nn.Conv2d) and not flattened and second.groups in (1, second.in_channels)


def _balance(first: Layer, second: Layer) -> float:
    """Bring the channels between two layers to one size; gives the largest change of a factor's logarithm."""
    given = first.weight.detach().abs().flatten(1).amax(1)
    taken = _by_channel(second, len(given)).detach().abs().amax((0, 2))
    factors = torch.sqrt(given / taken)
    factors = torch.where((factors > 1 / LIMIT) & (factors < LIMIT), factors, 1.0)  # false for what is no number
    scale(first, second, factors)
    return float(factors.log().abs().max())


def _by_channel(layer: Layer, channels: int) -> Tensor:
    """A view [outputs, channels in, weights] of the weights; a flattened channel is several columns of a linear."""
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return layer.weight.view(1, channels, -1)
    return layer.weight.view(len(layer.weight), channels, -1)
