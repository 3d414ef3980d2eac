"""How wide each layer becomes: a path from the whole network down to its narrowest, and places on it.

Each move on the path narrows one group to the next width that kernels like, of all moves the one that loses least for
what it saves. A move loses ln(importance before / importance after): the share of its group that matters, counted
higher the less is left, so that no group is emptied while others are whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.cost import is_depthwise, layer_costs
from edgecnn.models.widths import Widths, widths_of
from edgecnn.prune.groups import Group, narrower
from edgecnn.prune.target import BYTES

# XNNPACK's int8 kernels make 8 or 16 output channels at a time and fill up what is missing; on 64-bit ARM 8 or 16 too.
MULTIPLE = 8
LEAST_STEPS = 4  # narrow groups go down by half, a quarter ... of the multiple, so that they have as many widths
LEAST = 2  # channels; a depthwise convolution of one would be none any more
CHANNEL_BYTES = 16  # of an output channel in a TFLite file: bias int32, scale float32, zero point int64

Sizes = dict[str, int]  # channels of each group


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer: for each pair of channels in and out (of a depthwise convolution, for each
    channel) it has so many ``weights``, and uses them at so many ``positions`` of an image."""

    name: str
    weights: int
    positions: int
    depthwise: bool

    def pairs(self, widths: Widths) -> int:
        """How many pairs of channels it has."""
        channels_in, channels_out = widths[self.name]
        return channels_out if self.depthwise else channels_in * channels_out


@dataclass(frozen=True)
class Shape:
    """What a network's layers cost as functions of the sizes of its groups."""

    widths: Widths
    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
    fixed_macs: int  # of layers that are no part of it

    @property
    def whole(self) -> Sizes:
        """The sizes of the unpruned network."""
        return {group.name: group.channels for group in self.groups}

    def at(self, sizes: Mapping[str, int]) -> Widths:
        """The widths of all layers."""
        return narrower(self.widths, list(self.groups), sizes)

    def macs(self, sizes: Mapping[str, int]) -> int:
        """Multiply-accumulates for one image, as ``models.cost`` counts them."""
        widths = self.at(sizes)
        return self.fixed_macs + sum(each.pairs(widths) * each.weights * each.positions for each in self.layers)

    def bytes(self, sizes: Mapping[str, int]) -> int:
        """About what the layers take in a static_w8a8 TFLite file; operations and names come on top."""
        widths = self.at(sizes)
        return sum(each.pairs(widths) * each.weights + widths[each.name][1] * CHANNEL_BYTES for each in self.layers)


def shape_of(model: nn.Module, arguments: ModelArguments, groups: list[Group]) -> Shape:
    """The shape of a model that has these groups. It is run once, on zeros."""
    names = {module: name for name, module in model.named_modules()}
    widths, layers, fixed = widths_of(model), dict[str, Layer](), 0
    for each in layer_costs(model, arguments):
        module, name = each.module, names[each.module]
        if name not in widths:
            fixed += each.macs
            continue
        depthwise = is_depthwise(module)
        pairs = module.weight.shape[0] * (1 if depthwise else module.weight.shape[1])
        positions = each.values // module.weight.shape[0]
        before = layers[name].positions if name in layers else 0  # used more than once
        layers[name] = Layer(name, module.weight.numel() // pairs, before + positions, depthwise)
    return Shape(widths, tuple(groups), tuple(layers.values()), fixed)


def smaller(size: int, channels: int, multiple: int) -> int | None:
    """The next width below ``size`` of a group that had ``channels``; None at the narrowest."""
    step = multiple
    while step > 1 and step * LEAST_STEPS > channels:
        step = -(-step // 2)
    below = (size - 1) // step * step
    return below if below >= LEAST else None


@dataclass(frozen=True)
class Path:
    """Sizes of the groups, narrower with every step; the first are those of the unpruned network.

    ``kept`` is the importance of a group's best channels together, by their number less one.
    """

    shape: Shape
    kept: Mapping[str, Sequence[float]]
    multiple: int
    steps: tuple[Sizes, ...]

    @classmethod
    def of(cls, shape: Shape, scores: Mapping[str, Tensor], kind: str, multiple: int) -> Path:
        """The path that saves bytes for a target of BYTES, else MACs, by the ``scores`` of each group's channels.

        Raises UsageError for a model in which nothing can be pruned.
        """
        kept = {name: each.sort(descending=True).values.double().cumsum(0).tolist() for name, each in scores.items()}
        path = cls(shape, kept, multiple, (shape.whole,))
        cost = shape.bytes if kind == BYTES else shape.macs
        while (move := path._cheapest(cost)) is not None:
            path = replace(path, steps=(*path.steps, path.steps[-1] | move))
        if len(path.steps) == 1:
            raise UsageError("nothing in this model can be pruned: no layer passes its channels on to another alone")
        return path

    def first(self, good: Callable[[Sizes], bool]) -> int | None:
        """The first step that is good; None where there is none."""
        return next((index for index, sizes in enumerate(self.steps) if good(sizes)), None)

    def lost(self, sizes: Mapping[str, int]) -> float:
        """What sizes lose: the sum over groups of ln(importance of all / importance of those kept)."""
        return sum(self._lost(name, self.shape.whole[name], size) for name, size in sizes.items())

    def refined(self, sizes: Sizes, cost: Callable[[Sizes], int], most: int) -> Sizes:
        """Sizes that cost at most ``most`` and lose less than these, which cost no more either.

        Groups are made wider by one step while another, or none, pays for it: a path's last move may save far more
        than was needed, above all in a network of few channels.
        """
        best = dict(sizes)
        while True:
            found = best
            for name in best:
                wider = best | {name: self._wider(name, best[name])}
                for payer in best:
                    paid = self._paid(wider, payer, cost, most) if payer != name else None
                    if paid is not None and self.lost(paid) < self.lost(found) - 1e-9:
                        found = paid
            if found is best:
                return best
            best = found

    def between(self, last: Sizes, count: int, cost: Callable[[Sizes], int]) -> list[Sizes]:
        """``count`` steps to ``last``, each leaving the same share of the cost of the one before, none narrower."""
        whole, end = cost(self.shape.whole), cost(last)
        found = []
        for number in range(1, count):
            most = whole * (end / whole) ** (number / count)
            wide = ({name: max(size, last[name]) for name, size in sizes.items()} for sizes in self.steps)
            found.append(next((sizes for sizes in wide if cost(sizes) <= most), last))
        return [*found, last]

    def _lost(self, name: str, before: int, after: int) -> float:
        most, least = self.kept[name][before - 1], self.kept[name][after - 1]
        return math.log(most / least) if least > 0 else math.inf if most > 0 else 0.0

    def _cheapest(self, cost: Callable[[Sizes], int]) -> Sizes | None:
        """The group to narrow next, with its size then; None where all are at their narrowest."""
        sizes = self.steps[-1]
        now = cost(sizes)
        prices: list[tuple[float, Sizes]] = []
        for name, size in sizes.items():
            below = smaller(size, self.shape.whole[name], self.multiple)
            if below is not None:
                saved = now - cost(sizes | {name: below})
                prices.append((self._lost(name, size, below) / saved if saved else math.inf, {name: below}))
        return min(prices, key=lambda each: each[0])[1] if prices else None

    def _wider(self, name: str, size: int) -> int:
        """The width from which ``smaller`` comes down to ``size``; that of the whole group at most."""
        above = self.shape.whole[name]
        while (below := smaller(above, self.shape.whole[name], self.multiple)) is not None and below > size:
            above = below
        return above

    def _paid(self, sizes: Sizes, payer: str, cost: Callable[[Sizes], int], most: int) -> Sizes | None:
        """The sizes with ``payer`` as much narrower as brings them to ``most``; None where that is not enough."""
        while cost(sizes) > most:
            below = smaller(sizes[payer], self.shape.whole[payer], self.multiple)
            if below is None:
                return None
            sizes = sizes | {payer: below}
        return sizes
