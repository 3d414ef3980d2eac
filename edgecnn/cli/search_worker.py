"""A worker of ``edgecnn search``: what this process, or a child of it, is to do, and how it is done.

    python -c "from edgecnn.cli.search_worker import main; main()"     reads a job, a line of JSON, from standard input

A child ends when its standard input does, putting what it was trying in line again.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.cli.targets import EMULATED, LOCAL, SSH, Say
from edgecnn.errors import EdgeCNNError, UsageError
from edgecnn.search.objectives import TABLE

if TYPE_CHECKING:
    from optuna.study import Study

    from edgecnn.data.dataset import DataSet
    from edgecnn.measure.costs import Measure
    from edgecnn.search.asked import Asked
    from edgecnn.search.prices import Clock, Files

TIMING = ".timing.lock"
REPEAT = 10.0  # seconds after which a worker that was to end is told again; what it still writes takes less
FORMS = f"{LOCAL}, {SSH}[USER@]HOST[:PORT], {EMULATED}CPU, {TABLE}FILE"


@dataclass(frozen=True)
class Job:
    """What a worker needs: ``asked`` as ``Asked.to_json`` has it, where trials are kept, how many are wanted, and how
    the data is read. Files of trials lie below ``folder``."""

    asked: Mapping[str, Any]
    storage: str
    trials: int
    folder: str
    image: tuple[int, int, int] | None
    on_broken: str
    device: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Job:
        """The inverse of ``to_json``."""
        return cls(**dict(value) | {"image": None if value["image"] is None else tuple(value["image"])})


def run(job: Job, study: Study, data: DataSet, told: Callable[[], None], say: Say) -> None:
    """Try what is asked of the study in this process."""
    from edgecnn.export.quiet import no_interrupt_is_lost
    from edgecnn.search.asked import Asked
    from edgecnn.search.prices import Files, Prices
    from edgecnn.search.worker import work

    with no_interrupt_is_lost():  # torch_pruning swallows what interrupts its import
        from edgecnn.search.tryout import Tryout

    asked, folder = Asked.from_json(job.asked), Path(job.folder)
    with tempfile.TemporaryDirectory(prefix=".worker-", dir=folder) as files:
        place = Path(files)
        clock = clock_of(asked, Files(data, place), folder, say) if asked.timed else None
        work(study, job.trials, Tryout(asked, data, Prices(asked, data, clock, place), place, job.device), told)


def check_target(target: str) -> None:
    """Raise UsageError for a target that is none, BadFileError for a table that cannot be read."""
    if target.startswith(SSH):
        from edgecnn.deploy.ssh.address import Address

        Address.parse(target)
    elif target.startswith(EMULATED):
        from edgecnn.deploy.emulated_arm.cpus import find

        find(target)
    elif target.startswith(TABLE):
        from edgecnn.search.table import Table

        Table.load(Path(target.removeprefix(TABLE)))
    elif target != LOCAL:
        raise UsageError(f"--target '{target}' is no target (valid: {FORMS})")


def check_reach(target: str, data: DataSet, say: Say) -> None:
    """Raise UsageError for a board that does not answer, or for a table that is of images of another size."""
    if target.startswith(SSH):
        from edgecnn.cli.made_for import reach

        reach(target, say)
    elif target.startswith(TABLE):
        from edgecnn.search.table import Table

        Table.load(Path(target.removeprefix(TABLE))).check_image(data.image)


def clock_of(asked: Asked, files: Files, folder: Path, say: Say) -> Clock:
    """What knows latencies on the target; workers that share ``folder`` measure one at a time."""
    from edgecnn.search.prices import Compared
    from edgecnn.search.table import Lookup, Table

    if asked.target.startswith(TABLE):
        return Lookup(Table.load(Path(asked.target.removeprefix(TABLE))), files)
    return Compared(timer(asked.target, say), files, folder / TIMING)


def timer(target: str, say: Say) -> Measure:
    """What measures files on a target that ``check_target`` let pass."""
    from edgecnn.cli.made_for import Counted, Timed

    return Counted(target, say) if target.startswith(EMULATED) else Timed(target, say)


def main() -> int:
    """Read a job and do it; gives the exit code. What goes wrong is the last line on standard error."""
    import json

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
    job = Job.from_json(json.loads(sys.stdin.readline()))
    from edgecnn.data import registry
    from edgecnn.search.asked import Asked
    from edgecnn.search.study import open_study

    try:
        threading.Thread(target=_end_with_input, daemon=True).start()
        asked = Asked.from_json(job.asked)
        data = registry.load(asked.data, image=job.image, on_broken=job.on_broken)
        run(job, open_study(job.storage, asked), data, lambda: None, _log)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it was heard
        return 130
    except EdgeCNNError as error:
        _log(f"edgecnn: error: {error}")
        return error.exit_code
    return 0


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _end_with_input() -> None:
    """Wait until whoever started this process is gone or wants it to end."""
    while os.read(0, 1 << 16):
        pass
    while True:  # an interruption that comes within a destructor or a callback is swallowed
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(REPEAT)
