"""Databases that several machines reach: SQLite by its URL, and a PostgreSQL server on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from edgecnn.errors import UsageError
from edgecnn.search.asked import Asked
from edgecnn.search.standing import standing
from edgecnn.search.study import PASSWORD, open_study
from edgecnn.search.tryout import DESIGN, FLOAT, KEPT, RECIPE, Outcome
from edgecnn.search.worker import work
from tests.search.test_killed import CHILD
from tests.tools import tool

ASKED = Asked(("accuracy", "macs"), "digits")
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    pytest.importorskip("psycopg")
    return str(request.getfixturevalue("server"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server of the test's own, which asks for a password."""
    programs = Path(tool("pg_ctl")).resolve().parent
    user = "postgres" if os.getuid() == 0 else None  # it does not run as root
    place = tempfile.TemporaryDirectory(prefix="edgecnn-")  # pytest's own are for nobody else
    folder = Path(place.name)
    if user is not None:
        shutil.chown(folder, user)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (folder / "password").write_text("sesame\n")

    def run(name: str, *words: str) -> None:
        subprocess.run([programs / name, *words], check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    run("initdb", "-D", str(folder / "data"), "-A", "scram-sha-256", "-U", "me", "--pwfile", str(folder / "password"),
        "--no-sync")  # fmt: skip
    options = f"-h 127.0.0.1 -p {port} -k '' -c fsync=off"
    run("pg_ctl", "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD, "sesame")
        try:
            yield f"postgresql://me@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
            place.cleanup()


def test_of_two_workers_on_a_database_one_is_killed_and_its_trial_is_tried_by_the_other(where: str) -> None:
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


def test_a_password_that_is_wrong_is_not_shown(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv(PASSWORD, "guessed")
    with pytest.raises(UsageError, match="cannot be used: .*password authentication failed") as caught:
        open_study(server, ASKED)
    assert "guessed" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(UsageError, match=r"storage postgresql://127.0.0.1:1/none cannot be used: .*refused"):
        open_study("postgresql://127.0.0.1:1/none", ASKED)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(UsageError, match=r"needs a driver that is not installed; run: pip install 'pymysql'"):
        open_study("mysql://127.0.0.1/none", ASKED)
