"""The plan that meets a target: computed for MACs, found by measuring files for bytes and latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from edgecnn.errors import UsageError
from edgecnn.prune.plan import Path, Sizes
from edgecnn.prune.target import BYTES, MACS, Target

CLOSE = 0.02  # below the target's share a search need not go on
MOST_TRIALS = 8

# What a network costs beside the unpruned one, as a share, both measured now.
Measure = Callable[[nn.Module], float]


@dataclass(frozen=True)
class Trial:
    """A shape that was measured on the way: its MACs and its cost, as shares of the unpruned network's."""

    macs: float
    cost: float


@dataclass(frozen=True)
class Plan:
    """The sizes of all groups after each step, and the trials that led to the last."""

    steps: tuple[Sizes, ...]
    trials: tuple[Trial, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"steps": list(self.steps), "trials": [asdict(trial) for trial in self.trials]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """The inverse of ``to_json``; raises ValueError, TypeError or KeyError for anything else."""
        steps = [{str(name): _size(size) for name, size in dict(step).items()} for step in value["steps"]]
        return cls(tuple(steps), tuple(Trial(float(each["macs"]), float(each["cost"])) for each in value["trials"]))


def _size(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} is no number of channels")
    return value


def find(
    path: Path,
    target: Target,
    count: int,
    cut: Callable[[Sizes], nn.Module],
    measure: Measure | None,
    say: Callable[[str], None],
) -> Plan:
    """The plan in ``count`` steps whose last is the first on the path that is within the target.

    ``cut`` makes the network of some sizes and ``measure`` says its cost; ``say`` hears of each trial. Raises
    UsageError for a target that even the narrowest network does not meet.
    """
    if target.kind == MACS:
        most = int(target.share * path.shape.macs(path.shape.whole))
        index = path.first(lambda sizes: path.shape.macs(sizes) <= most)
        if index is None:
            raise _beyond(target, path.shape.macs(path.steps[-1]) / path.shape.macs(path.shape.whole), path.multiple)
        return Plan(tuple(path.between(path.refined(path.steps[index], path.shape.macs, most), count)))
    assert measure is not None
    last, trials = _narrow_down(path, target, cut, measure, say)
    return Plan(tuple(path.between(last, count)), trials)


def _narrow_down(
    path: Path,
    target: Target,
    cut: Callable[[Sizes], nn.Module],
    measure: Measure,
    say: Callable[[str], None],
) -> tuple[Sizes, tuple[Trial, ...]]:
    """Halve the path between steps that cost too much and those that do not, from where a guess puts the target."""
    proxy = path.shape.bytes if target.kind == BYTES else path.shape.macs
    whole, macs = proxy(path.shape.whole), path.shape.macs(path.shape.whole)
    above, below = 0, len(path.steps)  # the first costs all; behind the last nothing is known
    costs: dict[int, float] = {}
    place = path.first(lambda sizes: proxy(sizes) <= target.share * whole)
    place = len(path.steps) - 1 if place is None else place
    while len(costs) < MOST_TRIALS or below == len(path.steps):
        sizes = path.steps[place]
        costs[place] = measure(cut(sizes))
        say(f"{path.shape.macs(sizes) / macs:.0%} of the MACs: {costs[place]:.1%} of the {target.kind}")
        if costs[place] <= target.share:
            below = place
            if costs[place] > target.share - CLOSE:
                break
        else:
            above = place
        if below - above <= 1:
            break
        place = (above + below) // 2
    if below == len(path.steps):
        raise _beyond(target, min(costs.values()), path.multiple)
    trials = tuple(Trial(path.shape.macs(path.steps[place]) / macs, cost) for place, cost in costs.items())
    return path.steps[below], trials


def _beyond(target: Target, share: float, multiple: int) -> UsageError:
    finer = f" or a --multiple below {multiple}" if multiple > 1 else ""
    return UsageError(
        f"target {target} cannot be met: the narrowest network still has {share:.3f} of the {target.kind}; give a "
        f"higher share{finer}"
    )
