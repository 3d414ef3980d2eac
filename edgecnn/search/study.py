"""Where the trials of a search are kept: a journal, which is a file of JSON lines, or a database that many reach.

Neither is unpickled: a journal file holds JSON, and so do the databases' columns.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study, StudyDirection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.files import output_errors, sha256
from edgecnn.search.asked import Asked
from edgecnn.search.objectives import ACCURACY, TABLE
from edgecnn.search.sampler import Seeded
from edgecnn.train.folder import check_same_settings

STUDY = "edgecnn-search"
ASKED = "asked"  # the study's attribute
PASSWORD = "EDGECNN_STORAGE_PASSWORD"  # the environment's variable
JOURNALLED = b'{"op_code":'  # how every line of a journal begins
# The driver each kind of database is reached by, and the package that has it.
DRIVERS = {"sqlite": ("sqlite", ""), "postgresql": ("postgresql+psycopg", "psycopg[binary]"),
           "mysql": ("mysql+pymysql", "pymysql[rsa]")}  # fmt: skip
FORMS = f"a journal's path, {', '.join(f'{name}://...' for name in DRIVERS)}"


def open_study(where: str, asked: Asked, *, resume: bool = False) -> Study:
    """The study in a storage, which is begun there if it is not there yet, unless it is to be resumed.

    Raises UsageError for a storage that cannot be reached or holds a search that was asked for something else,
    BadFileError for a file that is no journal and where there is nothing to resume, OutputError for one that cannot be
    written.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    ways = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    directions = [ways[name != ACCURACY] for name in asked.objectives]
    if resume and not is_begun(where):
        raise BadFileError(f"nothing to resume: there is no search in storage {where}; run without --resume")
    with _read_errors(where):
        study = optuna.create_study(
            storage=_storage(where), sampler=Seeded(asked.seed), study_name=STUDY, directions=directions,
            load_if_exists=True,
        )  # fmt: skip
        here, there = asked.to_json() | _table_of(asked), study.user_attrs.get(ASKED)
        if there is None:
            study.set_user_attr(ASKED, there := here)
        for name in ("table", "image"):
            if name not in there:
                here.pop(name, None)  # it was begun before these were told apart
        check_same_settings(where, there, here)
    return study


def _table_of(asked: Asked) -> dict[str, str]:
    """What tells the table that latencies are read from, if they are, from others."""
    path = Path(asked.target.removeprefix(TABLE))
    return {"table": sha256(path)} if asked.timed and asked.target.startswith(TABLE) and path.is_file() else {}


def is_begun(where: str) -> bool:
    """Whether there is a search in a storage; none is begun. Raises what ``open_study`` does."""
    file: str | None = where
    if "://" in where:
        file = make_url(where).database if where.startswith("sqlite") else None
    if file is not None and not Path(file).exists():
        return False
    with _read_errors(where):
        return STUDY in optuna.get_all_study_names(_storage(where))


@contextmanager
def _read_errors(where: str) -> Iterator[None]:
    """What databases and journals raise, as errors of ours."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise UsageError(f"storage {where} cannot be used: {_first_line(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise BadFileError(
            f"storage {where} holds no search that edgecnn can read ({_first_line(error)}); choose another --storage"
        ) from error


def check_storage(where: str) -> None:
    """Raise UsageError for a URL of a kind that is not known, or that shows a password."""
    if not where:
        raise UsageError(f"--storage '' is no storage (valid: {FORMS})")
    if "://" not in where:
        return
    kind = where.partition(":")[0].partition("+")[0]
    if kind not in DRIVERS:
        raise UsageError(f"--storage {kind}://... is no storage (valid: {FORMS})")
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"--storage {kind}://... is no URL (valid: {kind}://[USER@]HOST[:PORT]/DATABASE)") from error
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError("--storage sqlite:// is lost when the search ends (valid: sqlite:///PATH)")
    if url.password is not None or any("pass" in word.lower() for word in url.query):
        raise UsageError(
            f"--storage {kind}://... shows a password to everyone on this machine; leave it out and set {PASSWORD}, or "
            "keep it where the database's client looks for it (PostgreSQL: ~/.pgpass)"
        )


def _storage(where: str) -> BaseStorage:
    check_storage(where)
    if "://" not in where:
        path = Path(where)
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_journal(path)
            return JournalStorage(JournalFileBackend(where, Lock(path)))
    url = make_url(where)
    if url.drivername in DRIVERS:
        url = url.set(drivername=DRIVERS[url.drivername][0])
    if os.environ.get(PASSWORD):
        url = url.set(password=os.environ[PASSWORD])
    try:
        return RDBStorage(url.render_as_string(hide_password=False), skip_compatibility_check=False)
    except ImportError as error:
        kind = where.partition(":")[0].partition("+")[0]
        raise UsageError(
            f"--storage {kind}://... needs a driver that is not installed; run: pip install '{DRIVERS[kind][1]}'"
        ) from error


def _check_journal(path: Path) -> None:
    """Raise BadFileError for a file that is something else: it would be written to, and a last line be cut off."""
    if path.exists():
        with path.open("rb") as file:
            start = file.read(len(JOURNALLED))
        if not JOURNALLED.startswith(start):
            raise BadFileError(
                f"storage {path} holds no search that edgecnn can read (it is no journal); choose another --storage"
            )


class Lock(JournalFileOpenLock):
    """The system's lock on a journal: a process that is killed lets go of it, which Optuna's own locks do not.

    Half a line, which a machine that crashed may leave, is cut off before more is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Wait for the lock."""
        descriptor = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._mend()
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def _mend(self) -> None:
        with self._path.open("rb+") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end > 0:
                file.seek(end - 1)
                if file.read(1) == b"\n":
                    break
                end -= 1
            if end < size:
                file.truncate(end)


def _first_line(error: Exception) -> str:
    """What an error says, in short; a driver's error stands behind that of the storage."""
    said = str(error.__cause__ or error)
    return next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)[:300]
