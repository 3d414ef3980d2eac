"""Which layers to keep in float32 so that a file costs least: measured at a few cuts, summed up for all sets.

Between an int8 and a float32 layer values are converted, so layers pay in stretches, and trying one layer at a time
finds nothing. A net of n layers is cut at k, once with the layers before the cut in float32 and once with those after
it. Both files hold the same conversions, so the two costs, with those of the whole net in int8 and in float32, say
what a stretch of layers saves and what a cut costs; the best set of stretches then is a shortest path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

MOST_CUTS = 5


@dataclass(frozen=True)
class Cut:
    """What a file costs with the layers before the cut in float32, ``before``, and with those after it, ``after``."""

    before: float
    after: float


def cuts(layers: int) -> list[int]:
    """Where to cut: before layer k, for at most MOST_CUTS values of k from 1 to ``layers`` - 1, evenly spread."""
    count = min(MOST_CUTS, layers - 1)
    return sorted({round(place * layers / (count + 1)) for place in range(1, count + 1)})


def best_stretches(layers: int, quantized: float, floating: float, known: Mapping[int, Cut]) -> list[tuple[int, int]]:
    """The stretches (first, end) of layers to keep in float32; none where int8 costs least.

    ``quantized`` and ``floating`` are the costs of the whole net in int8 and in float32. A cut that was not measured
    is never used. The costs of the parts are taken to add up, so what comes out must be measured before it counts.
    """
    places = [0, *sorted(known), layers]
    conversion = {0: 0.0, layers: 0.0}
    saved = {0: 0.0, layers: quantized - floating}  # by the layers before a cut
    for place, cut in known.items():
        both = (cut.before + cut.after - quantized - floating) / 2
        conversion[place] = max(0.0, both)
        saved[place] = quantized - cut.before + both
    # The least cost, beyond that of int8, to arrive at each place in int8 and in float32, and the stretches so far.
    int8: tuple[float, list[tuple[int, int]]] = (0.0, [])
    real: tuple[float, list[tuple[int, int]]] = (0.0, [(0, 0)])
    for place, after in pairwise(places):
        fee = conversion[place]
        if place > 0:
            enter = (int8[0] + fee, [*int8[1], (place, place)])
            leave = (real[0] + fee, real[1])
            int8, real = min(int8, leave, key=_cost), min(real, enter, key=_cost)
        real = (real[0] - (saved[after] - saved[place]), [*real[1][:-1], (real[1][-1][0], after)])
    return min(int8, real, key=_cost)[1]


def named(layers: Sequence[str], stretches: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """The names of the layers in the stretches."""
    return tuple(name for first, end in stretches for name in layers[first:end])


def _cost(path: tuple[float, list[tuple[int, int]]]) -> float:
    return path[0]
