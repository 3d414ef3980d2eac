"""Trials whose worker is gone. A worker that is killed says nothing, and a journal hears of no broken connection.

A worker's name says on which machine it runs, as which process. On that machine its death is certain at once; from
elsewhere it is taken for dead when its trial's count of beats has stood still for a while on the watcher's own clock,
since clocks of two machines differ.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

BEAT = 10.0  # seconds between two beats
SILENCE = 90.0  # seconds without a beat after which a worker elsewhere is taken for dead
MOST_TRIES = 3  # of one candidate: what kills three workers would kill a fourth
WORKER, BEATS, AGAIN, TRIES = "worker", "beats", "again", "tries"  # a trial's attributes


def own_name() -> str:
    """This process's name: machine since its last start, space of process numbers, process, and when it began."""
    return ":".join((*_machine(), str(os.getpid()), _began(os.getpid())))


def is_dead(name: str) -> bool:
    """Whether it is certain that the process of that name is gone."""
    *machine, process, began = name.split(":")
    return tuple(machine) == _machine() and _began(int(process)) != began


class Watch:
    """Remembers when each running trial was last seen to be alive."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[object, float]] = {}

    def lost(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Those of the trials that run, and whose worker is gone."""
        now, found = self._clock(), []
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            beats = trial.user_attrs.get(BEATS)
            before, since = self._seen.get(trial.number, (None, now))
            if trial.number not in self._seen or before != beats:
                since = now
            self._seen[trial.number] = (beats, since)
            name = trial.user_attrs.get(WORKER)
            if (name is not None and is_dead(name)) or now - since > SILENCE:
                found.append(trial)
        return found


def give_back(study: Study, trial: FrozenTrial, *, blame: bool) -> bool:
    """Mark a trial as failed and put what it tried in line again; False where somebody else was quicker.

    With ``blame`` it counts as a try, of which there are MOST_TRIES.
    """
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, RuntimeError):  # it is finished: by its worker after all, or by another that watched
        return False
    tries, drawn = trial.user_attrs.get(TRIES, 0) + blame, _drawn(study, trial)
    if drawn and tries < MOST_TRIES:
        study.enqueue_trial(drawn, {AGAIN: trial.number, TRIES: tries})
    return True


def _drawn(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """What a trial tries as far as it is known: one that is tried again may have ended before it drew it all again."""
    before = trial.user_attrs.get(AGAIN)
    return trial.params if before is None else _drawn(study, study.get_trials(deepcopy=False)[before]) | trial.params


def _machine() -> tuple[str, str]:
    start = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return start, str(os.stat("/proc/self/ns/pid").st_ino)


def _began(process: int) -> str:
    """When a process began, in ticks since the machine did; '' for one that is gone or only waits to be collected."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
