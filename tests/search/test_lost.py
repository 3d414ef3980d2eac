"""Trials whose worker is gone, and journals that were left in the middle of a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from edgecnn.errors import UsageError
from edgecnn.search.asked import Asked
from edgecnn.search.lost import BEATS, MOST_TRIES, SILENCE, WORKER, Watch, give_back, is_dead, own_name
from edgecnn.search.study import check_storage, is_begun, open_study
from edgecnn.search.tryout import Outcome
from edgecnn.search.worker import work

ASKED = Asked(("accuracy", "macs"), "digits")


def test_a_process_is_known_to_be_dead_by_its_name() -> None:
    child = subprocess.run(
        [sys.executable, "-c", "from edgecnn.search.lost import own_name; print(own_name())"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert is_dead(child.stdout.strip())
    assert not is_dead(own_name())
    assert not is_dead("another machine:1:1:1"), "nobody can tell from here"


def test_a_worker_elsewhere_is_lost_when_it_is_silent(tmp_path: Path) -> None:
    study, now = open_study(str(tmp_path / "j.log"), ASKED), 0.0
    watch = Watch(lambda: now)
    trial = study.ask()
    trial.set_user_attr(WORKER, "elsewhere:1:1:1")
    assert not watch.lost(study.get_trials())
    for beats in (1, 2):
        now += SILENCE - 1
        trial.set_user_attr(BEATS, beats)
        assert not watch.lost(study.get_trials()), "it was heard of meanwhile"
    now += SILENCE + 1
    assert [trial.number for trial in watch.lost(study.get_trials())] == [0]


def test_what_a_lost_worker_tried_is_tried_again_but_not_for_ever(tmp_path: Path) -> None:
    study = open_study(str(tmp_path / "j.log"), ASKED)
    drawn = []
    for _ in range(MOST_TRIES):
        trial = study.ask()
        drawn.append(trial.suggest_int("width", 1, 1000))
        assert give_back(study, study.get_trials()[trial.number], blame=True)
        assert not give_back(study, study.get_trials()[trial.number], blame=True)
    assert len(set(drawn)) == 1
    assert not [trial for trial in study.get_trials() if trial.state == TrialState.WAITING]


def test_what_is_tried_again_is_not_lost_with_a_worker_that_ends_before_it_has_drawn_it(tmp_path: Path) -> None:
    study = open_study(str(tmp_path / "j.log"), ASKED)
    first = study.ask()
    drawn = first.suggest_int("width", 1, 1000), first.suggest_int("depth", 1, 1000)
    give_back(study, study.get_trials()[0], blame=False)
    for number in (1, 2):
        study.ask()
        give_back(study, study.get_trials()[number], blame=False)
    last = study.ask()
    assert (last.suggest_int("width", 1, 1000), last.suggest_int("depth", 1, 1000)) == drawn


def test_workers_stop_at_the_number_asked_for_and_an_interruption_is_tried_again(tmp_path: Path) -> None:
    study, seen = open_study(str(tmp_path / "j.log"), ASKED), []

    def tryout(study, trial) -> Outcome:
        seen.append(trial.suggest_int("width", 1, 1000))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return Outcome((0.5, float(seen[-1])))

    with pytest.raises(KeyboardInterrupt):
        work(study, 3, tryout)
    work(open_study(str(tmp_path / "j.log"), ASKED), 3, tryout)
    assert len(seen) == 4
    assert seen[2] == seen[1]


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("outcome", [Outcome((0.5, 1.0)), Outcome(None, "dear", "too many bytes")])
def test_an_interruption_while_a_result_is_written_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool, outcome: Outcome
) -> None:
    study, seen = open_study(str(tmp_path / "j.log"), ASKED), []
    tell = study.tell

    def tryout(study, trial) -> Outcome:
        seen.append(trial.suggest_int("width", 1, 1000))
        return outcome

    def interrupted(*arguments, **more):
        if written:
            tell(*arguments, **more)
        monkeypatch.setattr(study, "tell", tell)
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work(study, 2, tryout)
    assert not [trial for trial in study.get_trials() if trial.state == TrialState.RUNNING]
    work(study, 2, tryout)
    assert len(seen) == (2 if written else 3)
    assert written or seen[1] == seen[0]


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j.log"
    open_study(str(path), ASKED)
    with path.open("a") as file:
        file.write('{"op_code":4,"work')
    study = open_study(str(path), ASKED)
    study.ask()
    assert [json.loads(line) for line in path.read_text().splitlines()]


def test_a_journal_may_be_called_what_a_database_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_begun("sqlite.log")
    open_study("sqlite.log", ASKED).ask()
    assert is_begun("sqlite.log")
    assert len(open_study("sqlite.log", ASKED, resume=True).get_trials()) == 1


def test_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    open_study(str(tmp_path / "j.log"), ASKED)
    with pytest.raises(UsageError, match="its epochs is 9, this run's is 3"):
        open_study(str(tmp_path / "j.log"), Asked(("accuracy", "macs"), "digits", epochs=3))


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ("postgresql://me:secret@host/db", "shows a password"),
        ("mysql://host/db?password=secret", "shows a password"),
        ("redis://host", "is no storage"),
    ],
)
def test_storages_that_are_refused(where: str, part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        check_storage(where)
    assert "secret" not in str(caught.value)
