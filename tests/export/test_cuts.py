"""Stretches of float32 layers, against every possible set of layers."""

from __future__ import annotations

import random
from itertools import pairwise, product

import pytest

from edgecnn.export.cuts import MOST_CUTS, Cut, best_stretches, cuts, named


class Net:
    """Costs of each layer in int8 and in float32, and of a conversion before each."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.size = dice.randint(2, 8)
        self.int8, self.real = ([dice.randint(1, 100) for _ in range(self.size)] for _ in range(2))
        self.fees = [dice.randint(0, 30) for _ in range(self.size)]

    def cost(self, floating: tuple[bool, ...]) -> int:
        layers = sum(self.real[place] if kept else self.int8[place] for place, kept in enumerate(floating))
        return layers + sum(self.fees[place] for place in range(1, self.size) if floating[place] != floating[place - 1])

    def known(self) -> dict[int, Cut]:
        def at(place: int, after: bool) -> int:
            return self.cost(tuple((layer >= place) == after for layer in range(self.size)))

        return {place: Cut(at(place, False), at(place, True)) for place in range(1, self.size)}


@pytest.mark.parametrize("seed", range(60))
def test_no_other_set_of_layers_costs_less(seed: int) -> None:
    net = Net(seed)
    stretches = best_stretches(net.size, sum(net.int8), sum(net.real), net.known())
    found = tuple(any(first <= layer < end for first, end in stretches) for layer in range(net.size))
    assert net.cost(found) == min(net.cost(each) for each in product((False, True), repeat=net.size))


def test_a_place_that_was_not_measured_is_no_cut() -> None:
    net = Net(0)
    assert best_stretches(net.size, 100, 50, {}) == [(0, net.size)]
    assert best_stretches(net.size, 50, 100, {}) == []


@pytest.mark.parametrize(("layers", "places"), [(1, []), (2, [1]), (4, [1, 2, 3]), (6, [1, 2, 3, 4, 5])])
def test_a_small_net_is_cut_everywhere(layers: int, places: list[int]) -> None:
    assert cuts(layers) == places


@pytest.mark.parametrize("layers", [7, 16, 50, 500])
def test_a_large_net_is_cut_in_few_places_evenly(layers: int) -> None:
    places = cuts(layers)
    assert len(places) == MOST_CUTS
    gaps = {after - before for before, after in pairwise([0, *places, layers])}
    assert max(gaps) - min(gaps) <= 1


def test_the_layers_of_stretches_have_names() -> None:
    assert named("abcdef", [(0, 2), (4, 5)]) == ("a", "b", "e")
