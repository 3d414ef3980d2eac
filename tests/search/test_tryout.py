"""What one trial comes to: priced, trained, pruned where that was drawn, and never shown a test image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import create_trial

from edgecnn import models
from edgecnn.data.dataset import Memory
from edgecnn.models import ModelArguments, cost
from edgecnn.search import pruned, space, tryout
from edgecnn.search.asked import Asked
from edgecnn.search.halving import FEWEST, rungs
from edgecnn.search.prices import Prices
from edgecnn.search.space import SPACE, Candidate, Choice, Real, Value, Whole
from edgecnn.search.study import open_study
from edgecnn.search.tryout import DEAR, DESIGN, KEPT, STOPPED, Outcome, Tryout
from tests.search.small import small_space as small_space
from tests.train import small

DRAWN: dict[str, Value] = {
    "stem_channels": 8, "stem_kernel": 3, "stem_stride": 2, "early_kind": "c", "early_channels": 16, "early_depth": 1,
    "middle_channels": 16, "middle_expansion": 3, "middle_kernel": 3, "middle_depth": 1, "late_channels": 24,
    "late_expansion": 3, "late_kernel": 3, "late_depth": 1, "learning_rate": 0.1, "weight_decay": 0.05,
    "label_smoothing": 0.1,
}  # fmt: skip


def macs_of(design: str) -> int:
    arguments = ModelArguments(3, 1, (16, 16))
    return cost.macs(models.create(design, arguments), arguments)


def tried(
    folder: Path, kept: float, bounds: Mapping[str, float] | None = None, before: Sequence[float] = ()
) -> tuple[Outcome, dict[str, Any]]:
    """The outcome of a trial of DRAWN, and what was written down of it. Labels of test images are none.

    ``before`` are what earlier trials kept, all of them right on everything at no cost after the first epoch.
    """
    asked = Asked(("accuracy", "macs"), "small", epochs=3, batch_size=32, validation=0.2, bounds=bounds or {})
    unseen = Memory(np.zeros((30, 16, 16, 1), np.uint8), np.full(30, 99))
    data = replace(small.dataset(), test=unseen)
    study = open_study(str(folder / "j.log"), asked)
    for share in before:
        study.add_trial(create_trial(values=(0.9, 1.0), user_attrs={KEPT: share, "rung 1": [-1.0, 0.0]}))
    study.enqueue_trial(DRAWN | {"kept": kept})
    trial = study.ask()
    outcome = Tryout(asked, data, Prices(asked, data, None, folder), folder, "cpu")(study, trial)
    return outcome, study.get_trials()[trial.number].user_attrs


@pytest.mark.usefixtures("small_space")
@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_what_counts_is_the_network_as_it_was_kept(tmp_path: Path, kept: float) -> None:
    outcome, known = tried(tmp_path, kept)
    assert outcome.values is not None
    accuracy, macs = outcome.values
    assert accuracy * 20 == round(accuracy * 20), "of the 20 images that are held out"
    assert (known[KEPT], known["macs"]) == (kept, macs)
    whole = macs_of(known[DESIGN])
    assert macs == whole if kept == 1 else 0.4 * whole < macs <= 0.5 * whole


@pytest.mark.usefixtures("small_space")
def test_a_bound_is_held_against_what_is_left_of_a_design(tmp_path: Path) -> None:
    _, known = tried(tmp_path / "whole", 0.5)
    bound = {"macs": 0.6 * macs_of(known[DESIGN])}
    assert tried(tmp_path / "pruned", 0.5, bound)[0].values is not None
    outcome, known = tried(tmp_path / "dear", 1.0, bound)
    assert (outcome.values, outcome.end) == (None, DEAR)
    assert "float_accuracy" not in known, "it was not trained"


@pytest.mark.usefixtures("small_space")
def test_a_trial_is_stopped_only_by_those_that_keep_the_same_share(tmp_path: Path) -> None:
    for place, before in (("among others", [0.5] * FEWEST), ("alone", [])):
        outcome, _ = tried(tmp_path / place, 1.0, before=before)
        assert outcome.values is not None, place
    outcome, _ = tried(tmp_path / "among equals", 1.0, before=[1.0] * FEWEST)
    assert (outcome.values, outcome.end) == (None, STOPPED)


@pytest.mark.usefixtures("small_space")
def test_a_bound_holds_after_pruning_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foretold = pruned.foretold
    monkeypatch.setattr(tryout, "foretold", lambda net, arguments, data, kept: foretold(net, arguments, data, 0.3))
    bound = {"macs": 0.35 * macs_of(str(Candidate.of(DRAWN | {"kept": 0.5}).design))}
    outcome, known = tried(tmp_path, 0.5, bound)
    assert outcome.end == DEAR
    assert known["macs"] > bound["macs"]


def test_a_pruned_trial_takes_no_more_epochs_and_is_looked_at_before_the_cut() -> None:
    for epochs in range(2, 40):
        before = epochs - pruned.epochs_after(epochs)
        assert 1 <= before < epochs
        assert all(look <= before for look in rungs(epochs))


def test_the_ends_of_the_space_are_networks() -> None:
    arguments = ModelArguments(10, 3, (32, 32))
    costs = []
    for end in (0, -1):
        values: dict[str, Any] = {}
        for name, each in SPACE.items():
            match each:
                case Choice(choices):
                    values[name] = choices[end]
                case Whole(low, high) | Real(low, high):
                    values[name] = (low, high)[end]
        network = models.create(str(Candidate.of(values).design), arguments)
        costs.append(cost.macs(network, arguments))
    assert costs[0] > 100_000
    assert costs[1] > 2 * costs[0]


def test_another_space_is_another_search(monkeypatch: pytest.MonkeyPatch) -> None:
    before = space.digest()
    monkeypatch.setitem(SPACE, "late_depth", Whole(1, 9))
    assert space.digest() != before
