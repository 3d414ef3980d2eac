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
from edgecnn.search.tryout import DEAR, DESIGN, END, FAILED, FLOAT, RECIPE, STOPPED

TRAINED, RUNNING, LOST = "trained", "running", "lost"


@dataclass(frozen=True)
class Trained:
    """A trial that was trained to the end. ``accuracy`` is quantized, both are of held-out training images."""

    number: int
    design: str
    recipe: Mapping[str, float]
    accuracy: float
    float_accuracy: float
    costs: Mapping[str, float]
    front: bool


@dataclass(frozen=True)
class Standing:
    """``counts`` are trials by how they ended: TRAINED, STOPPED, DEAR, FAILED, RUNNING and LOST (and tried again).

    ``seconds_left`` is None where that cannot be told.
    """

    trained: tuple[Trained, ...]
    counts: Mapping[str, int]
    wanted: int
    seconds_left: float | None

    @property
    def ended(self) -> int:
        """Trials that need no more work."""
        return sum(self.counts[name] for name in (TRAINED, STOPPED, DEAR, FAILED))

    @property
    def front(self) -> tuple[Trained, ...]:
        """Those that no other beats in all objectives, the most accurate first."""
        return tuple(sorted((each for each in self.trained if each.front), key=lambda each: -each.accuracy))


def standing(study: Study, asked: Asked, wanted: int) -> Standing:
    """How far the search for ``wanted`` trials has come."""
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    fronts = front([point(trial.values[0], trial.values[1:]) for trial in done])
    trained = tuple(_trained(trial, on_front) for trial, on_front in zip(done, fronts, strict=True))
    found = Counter(_kind(trial) for trial in trials)
    counts = {name: found[name] for name in (TRAINED, STOPPED, DEAR, FAILED, RUNNING, LOST)}
    return Standing(trained, counts, wanted, _seconds_left(trials, wanted))


def _trained(trial: FrozenTrial, on_front: bool) -> Trained:
    attributes = trial.user_attrs
    costs = {name: attributes[name] for name in (*COSTS, COST) if name in attributes}
    return Trained(
        trial.number, attributes[DESIGN], attributes[RECIPE], trial.values[0], attributes[FLOAT], costs, on_front
    )


def _kind(trial: FrozenTrial) -> str:
    match trial.state:
        case TrialState.COMPLETE:
            return TRAINED
        case TrialState.PRUNED:
            return str(trial.user_attrs[END])
        case TrialState.RUNNING:
            return RUNNING
        case TrialState.FAIL:
            return str(trial.user_attrs.get(END, LOST))
        case _:
            return "waiting"


def _seconds_left(trials: Sequence[FrozenTrial], wanted: int) -> float | None:
    """From how long trials took so far, and how many run at a time."""
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    took = [trial.duration.total_seconds() for trial in ended if trial.duration is not None]
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    if not took:
        return None
    return sum(took) / len(took) * max(0, wanted - len(ended)) / max(1, running)
