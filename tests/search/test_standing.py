"""How far a search is, told from its trials."""

from __future__ import annotations

from datetime import datetime, timedelta

import optuna
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from edgecnn.search.asked import Asked
from edgecnn.search.standing import LOST, Standing, standing
from edgecnn.search.tryout import DEAR, DESIGN, END, FAILED, FLOAT, KEPT, RECIPE, WHY

ASKED = Asked(("accuracy", "macs"), "digits")
BEGIN = datetime(2026, 1, 1)


def ended(study: Study, seconds: float, values: list[float] | None) -> None:
    """Add a trial that took so long: trained to the end, or, without values, over a bound."""
    trial = create_trial(
        state=TrialState.PRUNED if values is None else TrialState.COMPLETE,
        values=values,
        user_attrs={END: DEAR} if values is None else {DESIGN: "design:c8", KEPT: 1.0, RECIPE: {}, FLOAT: 0.5},
    )
    trial.datetime_start, trial.datetime_complete = BEGIN, BEGIN + timedelta(seconds=seconds)
    study.add_trial(trial)


def found(study: Study) -> Standing:
    return standing(study, ASKED, 8)


def test_time_left_is_told_once_a_trial_was_trained_to_the_end() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    for _ in range(3):
        ended(study, 1.0, None)
    assert found(study).counts[DEAR] == 3
    assert found(study).seconds_left is None
    ended(study, 97.0, [0.5, 1e6])
    assert found(study).seconds_left == (97 + 3) / 4 * 4
    for _ in range(2):
        study.ask()
    assert found(study).seconds_left == (97 + 3) / 4 * 4 / 2, "two run at a time"


def test_one_whose_worker_died_between_the_words_of_its_end_is_lost_and_not_ended() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.ask().set_user_attr(WHY, "it broke")
    trial = study.ask()
    trial.set_user_attr(WHY, "it broke")
    trial.set_user_attr(END, FAILED)
    assert found(study).failed == {}  # both still run
    study.tell(trial, state=TrialState.FAIL)
    assert (found(study).ended, found(study).counts[LOST]) == (0, 1)
