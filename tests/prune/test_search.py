"""Plans: within the target, close to it, and found by measuring where only that can tell."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from torch import Tensor, nn

from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments, cost
from edgecnn.prune import importance
from edgecnn.prune.groups import Channels
from edgecnn.prune.plan import Path, Sizes, shape_of, smaller
from edgecnn.prune.search import MOST_TRIALS, Plan, find
from edgecnn.prune.target import Target
from tests import nets

ARGUMENTS = ModelArguments()


def start(model: str, kind: str, multiple: int = 8) -> tuple[nn.Module, Path, dict[str, Tensor]]:
    network = nets.untrained(model)
    channels = Channels(network, ARGUMENTS)
    scores = importance.scores(channels, importance.L2, nets.digits().train)
    return network, Path.of(shape_of(network, ARGUMENTS, channels.groups), scores, kind, multiple), scores


def plan(
    model: str, target: str, cost_of: Callable[[nn.Module], float] | None = None, multiple: int = 8, steps: int = 3
) -> tuple[Plan, Path, list[str]]:
    wanted = Target.parse(target)
    network, path, scores = start(model, wanted.kind, multiple)
    said: list[str] = []

    def cut(sizes: Sizes) -> nn.Module:
        return Channels(network, ARGUMENTS).cut(sizes, scores)

    return find(path, wanted, steps, cut, cost_of, said.append), path, said


@pytest.mark.parametrize("model", nets.MODELS)
def test_every_model_comes_down_to_half_its_macs_and_hardly_further(model: str) -> None:
    found, path, _ = plan(model, "macs:0.5")
    shares = [path.shape.macs(sizes) / path.shape.macs(path.shape.whole) for sizes in found.steps]
    assert 0.48 < shares[-1] <= 0.5
    assert 1 > shares[0] > shares[1] > shares[2]
    widths = [path.shape.whole, *found.steps]
    assert all(later[name] <= size for before, later in pairwise(widths)
               for name, size in before.items())  # fmt: skip


@pytest.mark.parametrize(
    ("size", "channels", "multiple", "expected"),
    [(64, 64, 8, 56), (84, 84, 8, 80), (8, 64, 8, None), (16, 16, 8, 12), (4, 16, 8, None), (6, 6, 8, 5),
     (2, 6, 8, None), (1, 1, 8, None), (16, 16, 1, 15), (64, 64, 16, 48)],
)  # fmt: skip
def test_wide_groups_have_multiples_and_narrow_ones_parts_of_them(
    size: int, channels: int, multiple: int, expected: int | None
) -> None:
    assert smaller(size, channels, multiple) == expected


def test_a_group_that_matters_is_spared() -> None:
    _, path, scores = start("resnet8", "macs")
    shape = path.shape
    # All of one group's channels matter alike, those of the others are but a few.
    few = {name: (each * 0).index_fill_(0, Tensor([0]).long(), 1) + 1e-3 for name, each in scores.items()}
    chosen = Path.of(shape, few | {"res3.conv1": scores["res3.conv1"] * 0 + 1}, "macs", 8)
    half = chosen.first(lambda sizes: shape.macs(sizes) <= 0.5 * shape.macs(shape.whole))
    assert half is not None
    assert chosen.steps[half]["res3.conv1"] == 64


def share_of_macs(whole: int) -> Callable[[nn.Module], float]:
    """A file that costs a fixed part, whatever is left: 0.4 + 0.6 of the MACs."""
    return lambda network: 0.4 + 0.6 * cost.macs(network, ARGUMENTS) / whole


def test_latency_is_met_by_what_was_measured_and_not_by_macs() -> None:
    whole = cost.macs(nets.untrained("resnet8"), ARGUMENTS)
    measure = share_of_macs(whole)
    found, path, said = plan("resnet8", "latency:0.7", measure)
    share = path.shape.macs(found.steps[-1]) / whole
    assert 0.66 < 0.4 + 0.6 * share <= 0.7
    assert len(found.trials) <= MOST_TRIALS
    assert len(said) == len(found.trials)
    assert min(abs(trial.cost - 0.4 - 0.6 * trial.macs) for trial in found.trials) < 1e-9


def test_a_cost_that_jumps_is_still_narrowed_down() -> None:
    whole = cost.macs(nets.untrained("depth_res"), ARGUMENTS)
    found, path, _ = plan(
        "depth_res", "latency:0.5", lambda network: 0.45 if cost.macs(network, ARGUMENTS) < 0.55 * whole else 0.9
    )
    last = path.shape.macs(found.steps[-1]) / whole
    assert 0.5 < last < 0.55


def test_the_bytes_of_a_file_are_searched_by_parameters_first() -> None:
    whole = cost.parameters(nets.untrained("mod_cnn"))
    found, _, said = plan(
        "mod_cnn", "bytes:0.5", lambda network: (20_000 + cost.parameters(network)) / (20_000 + whole)
    )
    measured = found.trials[-1].cost
    assert 0.46 < measured <= 0.5
    assert len(said) <= 4


@pytest.mark.parametrize(
    ("target", "measure"), [("macs:0.05", None), ("latency:0.3", lambda network: 0.45), ("bytes:0.3", lambda _: 0.45)]
)
def test_a_target_out_of_reach_is_refused(target: str, measure: Callable[[nn.Module], float] | None) -> None:
    with pytest.raises(UsageError) as caught:
        plan("depthwise", target, measure)
    assert f"target {target} cannot be met: the narrowest network still has 0." in str(caught.value)
    assert str(caught.value).endswith("give a higher share or a --multiple below 8")


def test_a_model_in_which_nothing_can_go_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    with pytest.raises(UsageError, match="nothing in this model can be pruned"):
        Path.of(shape_of(model, ARGUMENTS, Channels(model, ARGUMENTS).groups), {}, "macs", 8)
