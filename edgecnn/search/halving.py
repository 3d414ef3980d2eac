"""Which trials are not trained to the end: asynchronous successive halving, with fronts in the place of a rank.

L. Li et al., "A system for massively parallel hyperparameter tuning" (2020, ASHA), and for several objectives
R. Schmucker et al., "Multi-objective asynchronous successive halving" (2021), which rank by fronts, too. Whole fronts
go on here: what a trial costs is known, so a small net is never stopped by a large one that is more accurate. Networks
that will be pruned are held against those that will be pruned to the same share (``tryout``), since until then they are
as accurate as whole ones. Optuna's own pruners refuse more than one objective.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.search.objectives import Point, better_layers

ETA = 3  # a third goes on from a rung
FEWEST = 2 * ETA  # results at a rung, before which nobody is stopped: early accuracies are rough


def rungs(epochs: int) -> tuple[int, ...]:
    """Epochs after which a trial of ``epochs`` is looked at: a ninth and a third of them, where those are whole."""
    found = {epochs // ETA**2, epochs // ETA} - {0}
    return tuple(sorted(each for each in found if each < epochs))


def stops(own: Point, others: Sequence[Point]) -> bool:
    """Whether a trial ends at a rung, where ``others`` are what trials had there that came by before it."""
    if len(others) < FEWEST:
        return False
    return better_layers(own, others) >= (len(others) + 1) / ETA
