"""Chooses the files of a bundle for a target: by what they cost there, and the simplest of those that cost as little.

First every set of passes is tried for static_w8a8, and for float32 the usual one, none, and those that were best.
Where the best static_w8a8 file then is not much faster than float32, some of its layers are tried in float32. All are
screened; the best are measured again by turns, with float32 and the plain conversion beside them, and judged by that
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecnn.errors import CheckFailedError
from edgecnn.export.candidates import Candidate, Workshop, distinct_passes, orders
from edgecnn.export.cuts import Cut, best_stretches, cuts, named
from edgecnn.export.drafts import Order
from edgecnn.measure.costs import UNITS, Costs, Measure, Runs, dearer, middle
from edgecnn.measure.speed import FASTER
from edgecnn.quantize.floats import layer_names
from edgecnn.quantize.fold import fold
from edgecnn.quantize.passes import defaults
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, Recipe
from edgecnn.runtime.made_for import MadeFor, Trial

FINALISTS = 3  # of each kind: float32, static_w8a8, and static_w8a8 with float layers


@dataclass(frozen=True)
class Choice:
    """The orders of the two TFLite files, and the record of how they were chosen."""

    floating: Order
    quantized: Order
    made_for: MadeFor

    def of(self, order: Order) -> Order:
        """A bundle's order as chosen, if it is one of the two files."""
        for chosen in (self.floating, self.quantized):
            if (order.format, order.recipe) == (chosen.format, chosen.recipe):
                return chosen
        return order


def choose(workshop: Workshop, target: str, measure: Measure) -> Choice:
    """Make the candidates, measure them on the target that ``measure`` reaches, and choose.

    What is in the workshop from another target is not made again. Raises CheckFailedError when no candidate of a
    recipe passes its gate or can be measured, and what ``measure`` raises.
    """
    search = _Search(workshop, measure)
    sets = distinct_passes(workshop.source)
    search.screen(orders(STATIC_W8A8, sets))
    whole = search.best(_is(STATIC_W8A8))
    usual = max((names for names in sets if set(names) <= {*defaults(FLOAT32)}), key=len)
    search.screen(orders(FLOAT32, dict.fromkeys([(), usual, *(each.rewrites for each in whole[:FINALISTS])])))
    floats = search.best(_is(FLOAT32))
    if middle(search.screened[whole[0].path]) * FASTER > middle(search.screened[floats[0].path]):
        search.try_float_layers(whole[0], floats[0])
    mixed = search.best(lambda each: bool(each.order.float_layers), needed=False)
    plain = [each for each in whole if not each.rewrites]
    finalists = list(dict.fromkeys([*floats[:FINALISTS], *whole[:FINALISTS], *plain, *mixed[:FINALISTS]]))
    return search.decide(target, finalists)


def _is(recipe: Recipe) -> Callable[[Candidate], bool]:
    return lambda each: each.order.recipe is recipe and not each.order.float_layers


class _Search:
    """What was made and measured so far; costs are under the paths of the candidates."""

    def __init__(self, workshop: Workshop, measure: Measure) -> None:
        self.workshop, self.measure, self.say = workshop, measure, workshop.say
        self.tried: list[Candidate] = []
        self.screened: dict[Path, Runs] = {}
        self.failed: dict[Path, str] = {}

    def screen(self, wanted: Sequence[Order]) -> None:
        """Make them and measure, roughly, those that pass their gates."""
        new = [each for each in self.workshop.make(wanted) if each not in self.tried]
        self.tried += new
        good = [each for each in new if each.artifact is not None]
        if good:
            self.say(f"measuring {len(good)} candidates roughly")
            self._keep(good, self.measure.screen([each.path for each in good]), self.screened)

    def best(self, wanted: Callable[[Candidate], bool], needed: bool = True) -> list[Candidate]:
        """Those that were measured, the cheapest first. Raises CheckFailedError for none where some are ``needed``."""
        some = [each for each in self.tried if wanted(each)]
        known = [each for each in some if each.path in self.screened]
        if needed and not known:
            reasons = [each.failure or self.failed[each.path] for each in some]
            raise CheckFailedError(f"no candidate of {some[0].order.recipe.name} could be measured: {reasons[0]}")
        return sorted(known, key=lambda each: middle(self.screened[each.path]))

    def try_float_layers(self, whole: Candidate, floating: Candidate) -> None:
        """Screen files with the layers before, and after, each of some cuts in float32, and the best sum of them.

        ``whole`` is the best file in int8; the sum is also tried with the passes of the best float32 file.
        """
        source = self.workshop.source
        folded = fold(source.model, source.arguments)
        layers = layer_names(folded, folded.graph.nodes)
        places = cuts(len(layers))
        self.say(f"keeping layers in float32: {len(layers)} layers, cut in {len(places)} places")
        before = {place: replace(whole.order, float_layers=layers[:place]) for place in places}
        after = {place: replace(whole.order, float_layers=layers[place:]) for place in places}
        self.screen([*before.values(), *after.values()])
        known = {}
        for place in places:
            costs = [self._cost(before[place]), self._cost(after[place])]
            if costs[0] is not None and costs[1] is not None:
                known[place] = Cut(costs[0], costs[1])
        quantized, real = (middle(self.screened[each.path]) for each in (whole, floating))
        kept = named(layers, best_stretches(len(layers), quantized, real, known))
        kept = kept if len(kept) < len(layers) else ()
        mixed = [Order("tflite", STATIC_W8A8, names, float_layers=some)
                 for names in (whole.rewrites, floating.rewrites) for some in (kept, *self._cheapest(before, after))
                 if some]  # fmt: skip
        self.screen(list(dict.fromkeys(mixed)))

    def _cheapest(self, *some: dict[int, Order]) -> list[tuple[str, ...]]:
        """The layers of the cheapest file of each group."""
        found = []
        for group in some:
            costs = [(cost, order.float_layers) for order in group.values() if (cost := self._cost(order)) is not None]
            found += [min(costs)[1]] if costs else []
        return found

    def _cost(self, order: Order) -> float | None:
        runs = self.screened.get(self.workshop.of_order[order].path)
        return None if runs is None else middle(runs)

    def decide(self, target: str, finalists: Sequence[Candidate]) -> Choice:
        """Measure the finalists by turns and choose."""
        self.say(f"measuring the {len(finalists)} best by turns")
        costs = self.measure.decide([each.path for each in finalists])
        runs: dict[Path, Runs] = {}
        self._keep(finalists, costs.rows, runs)
        plain = next((each for each in finalists if _is(STATIC_W8A8)(each) and not each.rewrites), None)
        floating = self._simplest([each for each in finalists if each.order.recipe is FLOAT32], costs.kind, runs, [])
        known = [each for each in (plain, floating) if each is not None and each.path in runs]
        rest = [each for each in finalists if each.order.recipe is STATIC_W8A8]
        quantized = self._simplest(rest, costs.kind, runs, known)
        chosen = (floating, quantized)
        float_is_best = dearer(costs.kind, runs[quantized.path], runs[floating.path])
        record = MadeFor(
            target, costs.kind, costs.cpu, costs.engine,
            tuple(self._trial(each, runs.get(each.path, ()), each in chosen) for each in self.tried),
            _why(target, costs, quantized, floating, plain, runs, float_is_best), float_is_best, costs.doubts,
        )  # fmt: skip
        return Choice(floating.order, quantized.order, record)

    def _simplest(
        self, some: Sequence[Candidate], kind: str, runs: dict[Path, Runs], beside: Sequence[Candidate]
    ) -> Candidate:
        """Of those that cost no more than the cheapest but for noise, the one with the least done to it.

        Where one of them costs no more than any of ``beside``, it must be such a one.
        """
        known = [each for each in some if each.path in runs]
        if not known:
            raise CheckFailedError(f"no candidate of {some[0].order.recipe.name} could be measured: "
                                   f"{self.failed[some[0].path]}")  # fmt: skip
        cheapest = min(known, key=lambda each: middle(runs[each.path]))
        alike = [each for each in known if not dearer(kind, runs[each.path], runs[cheapest.path])]
        limit = min((middle(runs[each.path]) for each in beside), default=float("inf"))
        within = [each for each in alike if middle(runs[each.path]) <= limit]
        return min(
            within or [cheapest],
            key=lambda each: (len(each.order.float_layers), len(each.rewrites), middle(runs[each.path])),
        )

    def _keep(self, candidates: Sequence[Candidate], found: Iterable[Runs | str], into: dict[Path, Runs]) -> None:
        for candidate, each in zip(candidates, found, strict=True):
            if isinstance(each, str):
                self.failed[candidate.path] = each
            else:
                into[candidate.path] = each

    def _trial(self, each: Candidate, runs: Runs, chosen: bool) -> Trial:
        artifact = each.artifact
        known = (each.order.float_layers, None, None)
        kept, size, digest = known if artifact is None else (artifact.float_layers, artifact.bytes, artifact.sha256)
        return Trial(
            each.order.recipe.name, each.rewrites, kept, size, digest,
            self.screened.get(each.path, ()), runs, each.failure or self.failed.get(each.path), chosen,
        )  # fmt: skip


def _why(
    target: str, costs: Costs, quantized: Candidate, floating: Candidate, plain: Candidate | None,
    runs: dict[Path, Runs], float_is_best: bool,
) -> str:  # fmt: skip
    """One plain sentence."""
    unit = UNITS[costs.kind]
    cost, of_float = middle(runs[quantized.path]), middle(runs[floating.path])
    shown = f"{cost:,.0f}" if cost >= 1000 else f"{cost:.1f}"
    kept = quantized.order.float_layers
    how = f"{' '.join(quantized.rewrites) or 'no passes'}" + (f" and {len(kept)} layers in float32" if kept else "")
    beside = f"{cost / of_float:.2f} of float32"
    if plain is not None and plain.path in runs and plain is not quantized:
        beside += f" and {cost / middle(runs[plain.path]):.2f} of the plain conversion"
    if float_is_best:
        return (
            f"float32 is the best for {target}: with {' '.join(floating.rewrites) or 'no passes'} it costs "
            f"{of_float / cost:.2f} of the best static_w8a8 file ({how}, {shown} {unit})"
        )
    if cost >= of_float:  # by no more than noise
        return f"static_w8a8 is no cheaper than float32 on {target}: with {how} it costs {shown} {unit}, {beside}"
    return f"static_w8a8 with {how} costs the least on {target}, {shown} {unit} an image: {beside}"
