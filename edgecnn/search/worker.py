"""A worker: takes trials from the study and tries them, until there are as many as were asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from edgecnn.errors import EdgeCNNError
from edgecnn.search.lost import BEAT, BEATS, WORKER, Watch, give_back, own_name
from edgecnn.search.tryout import END, SURPLUS, WHY, Outcome

POLL = 1.0  # seconds between two looks at what other workers do

Try = Callable[[Study, optuna.Trial], Outcome]
Say = Callable[[str], None]


def _nap() -> None:
    time.sleep(POLL)


def work(
    study: Study, trials: int, tryout: Try, told: Callable[[], None] = lambda: None, wait: Callable[[], None] = _nap
) -> None:
    """Try what is asked of the study until ``trials`` of it have ended, whoever tried them.

    ``told`` is called after each of this worker's. While others are at the last, it ``wait``s, for should they be lost,
    these are tried again here. An interruption puts the trial in line again.
    """
    watch = Watch()
    while True:
        known = study.get_trials(deepcopy=False)
        gone = watch.lost(known)
        for trial in gone:
            give_back(study, trial, blame=True)
        if gone:
            continue
        if not _room(known, trials):
            if not any(trial.state == TrialState.RUNNING for trial in known):
                return
            wait()
            continue
        if _one(study, study.ask(), trials, tryout):
            told()


def _one(study: Study, trial: optuna.Trial, trials: int, tryout: Try) -> bool:
    """Try one that was begun; False where it was one too many."""
    try:
        trial.set_user_attr(WORKER, own_name())
        if _surplus(study, trial, trials):
            trial.set_user_attr(END, SURPLUS)
            study.tell(trial, state=TrialState.FAIL)
            return False
        with _beating(trial):
            outcome = tryout(study, trial)
        _tell(study, trial, outcome)
    except BaseException as error:
        # What ends a worker and is known to us, such as a board that is gone, is no fault of the candidate.
        give_back(study, _frozen(study, trial), blame=not isinstance(error, KeyboardInterrupt | EdgeCNNError))
        raise
    return True


def _tell(study: Study, trial: optuna.Trial, outcome: Outcome) -> None:
    """Write down how a trial ended."""
    try:
        if outcome.values is None:
            trial.set_user_attr(WHY, outcome.why)
            trial.set_user_attr(END, outcome.end)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, list(outcome.values))
    except (ValueError, RuntimeError):
        # It was taken for lost, as on a computer that slept, and is tried again: another's result will count.
        if _frozen(study, trial).state == TrialState.RUNNING:
            raise


def _frozen(study: Study, trial: optuna.Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _room(known: list[FrozenTrial], trials: int) -> bool:
    """Whether one more may be begun: one that waits, or a new one."""
    begun = sum(trial.state in (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED) for trial in known)
    return begun < trials


def _surplus(study: Study, trial: optuna.Trial, trials: int) -> bool:
    """Whether workers that took trials at the same moment took one too many: this one."""
    known = study.get_trials(deepcopy=False)
    return sum(each.state != TrialState.FAIL for each in known[: trial.number]) >= trials


@contextmanager
def _beating(trial: optuna.Trial) -> Iterator[None]:
    """Count up on the trial now and then, so that others see that its worker is there."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(BEAT):
            count += 1
            try:
                trial.set_user_attr(BEATS, count)
            except StorageInternalError:
                continue  # the next may come through
            except RuntimeError:
                return  # the trial was taken for lost

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
