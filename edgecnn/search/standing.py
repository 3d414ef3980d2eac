"""How far a search has come, read off its study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from edgecnn.search.asked import Asked
from edgecnn.search.objectives import COSTS, front, point
from edgecnn.search.prices import COST
from edgecnn.search.tryout import DEAR, DESIGN, END, FAILED, FLOAT, KEPT, RECIPE, STOPPED, SURPLUS, WHY

TRAINED, RUNNING, LOST = "trained", "running", "lost"


@dataclass(frozen=True)
class Trained:
    """A trial that was trained to the end. ``accuracy`` is quantized, both are of held-out training images.

    ``kept`` is the share of multiply-accumulates that pruning left, 1 for a design that was not pruned.
    """

    number: int
    design: str
    kept: float
    recipe: Mapping[str, float]
    accuracy: float
    float_accuracy: float
    costs: Mapping[str, float]


@dataclass(frozen=True)
class Standing:
    """``front`` are the trained that no other beats in all objectives, the most accurate first, ``beaten`` the others.

    ``counts`` are trials by how they ended: TRAINED, STOPPED, DEAR, FAILED, RUNNING and LOST (and tried again).

    ``seconds_left`` is None where that cannot be told; ``failed`` says why a trial FAILED, by its number.
    """

    front: tuple[Trained, ...]
    beaten: tuple[Trained, ...]
    counts: Mapping[str, int]
    wanted: int
    seconds_left: float | None
    failed: Mapping[int, str]

    @property
    def ended(self) -> int:
        """Trials that need no more work."""
        return sum(self.counts[name] for name in (TRAINED, STOPPED, DEAR, FAILED))


def standing(study: Study, asked: Asked, wanted: int) -> Standing:
    """How far the search for ``wanted`` trials has come."""
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    fronts = front([point(trial.values[0], trial.values[1:]) for trial in done])
    first = [_trained(trial) for trial, on_front in zip(done, fronts, strict=True) if on_front]
    beaten = tuple(_trained(trial) for trial, on_front in zip(done, fronts, strict=True) if not on_front)
    found = Counter(_kind(trial) for trial in trials)
    counts = {name: found[name] for name in (TRAINED, STOPPED, DEAR, FAILED, RUNNING, LOST)}
    first.sort(key=lambda each: -each.accuracy)
    failed = {trial.number: str(trial.user_attrs[WHY]) for trial in trials if _kind(trial) == FAILED}
    return Standing(tuple(first), beaten, counts, wanted, _seconds_left(trials, wanted), failed)


def _trained(trial: FrozenTrial) -> Trained:
    attributes = trial.user_attrs
    costs = {name: attributes[name] for name in (*COSTS, COST) if name in attributes}
    design, kept, recipe = attributes[DESIGN], attributes[KEPT], attributes[RECIPE]
    return Trained(trial.number, design, kept, recipe, trial.values[0], attributes[FLOAT], costs)


def _kind(trial: FrozenTrial) -> str:
    match trial.state:
        case TrialState.COMPLETE:
            return TRAINED
        case TrialState.PRUNED:
            return str(trial.user_attrs[END])
        case TrialState.RUNNING:
            return RUNNING
        case TrialState.FAIL:
            # One whose worker was killed when its end was written down, and not yet told, is tried again.
            return SURPLUS if trial.user_attrs.get(END) == SURPLUS else LOST
        case _:
            return "waiting"


def _seconds_left(trials: Sequence[FrozenTrial], wanted: int) -> float | None:
    """From how long trials took so far, and how many run at a time; None before one was trained to the end, since most
    of those that end sooner take no time."""
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    took = [trial.duration.total_seconds() for trial in ended if trial.duration is not None]
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    if not took or all(trial.state == TrialState.PRUNED for trial in ended):
        return None
    return sum(took) / len(took) * max(0, wanted - len(ended)) / max(1, running)
