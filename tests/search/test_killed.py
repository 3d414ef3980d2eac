"""A worker process that is killed in the middle of its trial, on a storage that another one shares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgecnn.search.asked import Asked
from edgecnn.search.study import open_study
from edgecnn.search.tryout import Outcome
from edgecnn.search.worker import work

CHILD = """
import sys
from edgecnn.search.asked import Asked
from edgecnn.search.study import open_study
from edgecnn.search.worker import work
def tryout(study, trial):
    print(trial.suggest_int("width", 1, 1000000), flush=True)
    sys.stdin.read()
work(open_study(sys.argv[1], Asked(("accuracy", "macs"), "digits")), 3, tryout)
"""


def test_its_trial_is_tried_again_by_the_other_and_no_more_is_lost(tmp_path: Path) -> None:
    where, seen = str(tmp_path / "j.log"), []

    def tryout(study, trial) -> Outcome:
        seen.append(trial.suggest_int("width", 1, 1000000))
        return Outcome((0.5, float(seen[-1])))

    study = open_study(where, Asked(("accuracy", "macs"), "digits"))
    line = [sys.executable, "-c", CHILD, where]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        begun = int(child.stdout.readline())
        # Called while this worker has nothing to do but wait for the other, which is then killed.
        work(study, 3, tryout, wait=child.kill)
    assert len(seen) == 3
    assert seen[-1] == begun
