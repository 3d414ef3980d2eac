"""Databases that several machines reach: SQLite by its URL, PostgreSQL's and MariaDB's servers on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from edgecnn.errors import UsageError
from edgecnn.search.asked import Asked
from edgecnn.search.standing import standing
from edgecnn.search.study import PASSWORD, open_study
from edgecnn.search.tryout import DESIGN, FLOAT, KEPT, RECIPE, Outcome
from edgecnn.search.worker import work
from tests.search import databases
from tests.search.test_killed import CHILD

ASKED = Asked(("accuracy", "macs"), "digits")
ROOT = Path(__file__).parents[2]


SERVERS = {"postgresql": databases.postgresql, "mysql": databases.mysql}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database of a server, whose password is in the environment."""
    with SERVERS[request.param]() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD, databases.SECRET)
        yield url


def one_of_two_is_killed(where: str) -> None:
    """Two workers on an empty database."""
    study, seen = open_study(where, ASKED), []

    def tryout(study, trial) -> Outcome:
        seen.append(trial.suggest_int("width", 1, 1000000))
        for name, value in ((DESIGN, "design:c8"), (KEPT, 1.0), (RECIPE, {}), (FLOAT, 0.5), ("macs", seen[-1])):
            trial.set_user_attr(name, value)
        return Outcome((0.5, float(seen[-1])))

    line, pipe = [sys.executable, "-c", CHILD, where], subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        begun = int(child.stdout.readline())
        work(study, 3, tryout, wait=child.kill)
    assert len(seen) == 3
    assert seen[-1] == begun
    again = open_study(where, ASKED)
    assert [trial.state for trial in again.get_trials()].count(TrialState.COMPLETE) == 3
    assert standing(again, ASKED, 3).front[0].costs["macs"] == min(seen)
    with pytest.raises(UsageError, match="its seed is 0, this run's is 1"):
        open_study(where, Asked(("accuracy", "macs"), "digits", seed=1))


def test_of_two_workers_on_a_server_one_is_killed_and_its_trial_is_tried_by_the_other(server: str) -> None:
    one_of_two_is_killed(server)


def test_a_search_from_before_it_named_the_size_of_its_images_goes_on(tmp_path: Path) -> None:
    where = str(tmp_path / "journal.log")
    before = ASKED.to_json()
    del before["image"]
    open_study(where, ASKED).set_user_attr("asked", before)
    open_study(where, replace(ASKED, image=(32, 32, 3)), resume=True)
    with pytest.raises(UsageError, match="its seed is 0, this run's is 1"):
        open_study(where, replace(ASKED, seed=1), resume=True)


def test_of_two_workers_on_a_file_one_is_killed_and_its_trial_is_tried_by_the_other(tmp_path: Path) -> None:
    one_of_two_is_killed(f"sqlite:///{tmp_path / 'study.db'}")


def test_a_password_that_is_wrong_is_not_shown(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "guessed")
    refused = "cannot be used: .*(password authentication failed|Access denied for user 'me')"
    with pytest.raises(UsageError, match=refused) as caught:
        open_study(server, ASKED)
    assert "guessed" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(UsageError, match=r"storage postgresql://127.0.0.1:1/none cannot be used: .*refused"):
        open_study("postgresql://127.0.0.1:1/none", ASKED)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(UsageError, match=r"needs a driver that is not installed; run: pip install 'pymysql\[rsa\]'"):
        open_study("mysql://127.0.0.1/none", ASKED)
