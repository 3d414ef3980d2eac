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
    cost = path.shape.bytes if target.kind == BYTES else path.shape.macs
    if target.kind != MACS:
        assert measure is not None
        index, trials = _narrow_down(path, target, cost, lambda sizes: measure(cut(sizes)), say)
        return Plan(tuple(path.between(path.steps[index], count, cost)), trials)
    whole = cost(path.shape.whole)
    most = int(target.share * whole)
    found = path.first(lambda sizes: cost(sizes) <= most)
    if found is None:
        raise _beyond(target, cost(path.steps[-1]) / whole, path.multiple)
    return Plan(tuple(path.between(path.refined(path.steps[found], cost, most), count, cost)))


def _narrow_down(
    path: Path,
    target: Target,
    proxy: Callable[[Sizes], int],
    measure: Callable[[Sizes], float],
    say: Callable[[str], None],
) -> tuple[int, tuple[Trial, ...]]:
    """The place on the path, between one that costs too much and one that does not, and what was measured for it.

    Next is measured where the line through those two, over the cost by ``proxy``, meets the target.
    """
    whole, macs = path.shape.whole, path.shape.macs(path.shape.whole)
    shares = [proxy(sizes) / proxy(whole) for sizes in path.steps]
    costs = {0: 1.0}
    above, below = 0, len(shares)  # behind the last nothing is known
    wanted = target.share
    while below - above > 1 and (len(costs) <= MOST_TRIALS or below == len(shares)):
        good = (index for index in range(above + 1, below) if shares[index] <= wanted)
        place = next(good, min(below, len(shares)) - 1)
        costs[place] = measure(path.steps[place])
        say(f"{path.shape.macs(path.steps[place]) / macs:.1%} of the MACs: {costs[place]:.1%} of the {target.kind}")
        above, below = (above, place) if costs[place] <= target.share else (place, below)
        if target.share - CLOSE < costs[place] <= target.share:
            break
        one, other = (above, below) if below < len(shares) else (0, above)
        slope = (costs[one] - costs[other]) / (shares[one] - shares[other]) if shares[one] > shares[other] else 0.0
        middle = (shares[above] + shares[min(below, len(shares) - 1)]) / 2
        wanted = shares[one] - (costs[one] - target.share) / slope if slope > 0 else middle
    if below == len(shares):
        raise _beyond(target, min(costs.values()), path.multiple)
    trials = [Trial(path.shape.macs(path.steps[place]) / macs, cost) for place, cost in costs.items() if place]
    return below, tuple(trials)


def _beyond(target: Target, share: float, multiple: int) -> UsageError:
    finer = f" or a --multiple below {multiple}" if multiple > 1 else ""
    return UsageError(
        f"target {target} cannot be met: the narrowest network still has {share:.3f} of the {target.kind}; give a "
        f"higher share{finer}"
    )
