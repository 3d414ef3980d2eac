"""Times the operations of a .tflite file one by one, by cutting it: what an operation costs is what it adds.

Processes take turns as in bench. Each goes through all slices up and down again, so that a drift of the machine falls
on all of them alike and a steady one cancels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgecnn import __version__
from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.measure.bench import Surroundings, check
from edgecnn.measure.dissection import Operation, Profile
from edgecnn.measure.measurement import Case, Settings
from edgecnn.measure.slicing import ALONE, EMPTY, PREFIX, WHOLE
from edgecnn.measure.trust import judge, judge_runs
from edgecnn.runtime.records import decode
from edgecnn.runtime.tflite_file import read
from edgecnn.runtime.tflite_verifier import read_verified

HERE = Surroundings()

Slice = tuple[str, int]  # part and count of slicing.Slices.time


@dataclass
class _Progress:
    """What is known so far: nanoseconds of each slice by run, why slices failed, the CPU's clock, and the facts."""

    times: dict[Slice, list[float]] = field(default_factory=dict)
    failures: dict[Slice, str] = field(default_factory=dict)
    clocks: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def profile(
    case: Case,
    runs: int = 5,
    pin: tuple[int, ...] = (),
    surroundings: Surroundings = HERE,
    say: Callable[[str], None] = lambda _line: None,
) -> Profile:
    """Profile a .tflite file in ``runs`` processes; ``say`` hears of each.

    An operation that cannot be run alone keeps the reason, and the rest goes on. Raises BadFileError for a file that
    the verifier refuses, UsageError for another format and for CPUs, threads or a batch that cannot be had,
    CheckFailedError when the file or a model of its first operations cannot be run.
    """
    if Path(case.file).suffix != ".tflite":
        raise UsageError(f"{case.file} is no .tflite file, and only those can be cut into their operations")
    check([case], Settings(runs, pin=pin))
    file = read(read_verified(Path(case.file)))
    if case.batch > 1 and not file.tensors[file.inputs[0]].dynamic:
        raise UsageError(f"{case.file} takes one image at a time, so --batch must be 1, not {case.batch}")
    count = len(file.operations)
    machine, states = surroundings.machine(), [surroundings.state()]
    known = _Progress()
    for number in range(runs):
        say(f"run {number + 1} of {runs}")
        _run(case, count, pin, surroundings, known, last=number == runs - 1)
        states.append(surroundings.state())
    whole = known.times[WHOLE, 0]
    return Profile(
        edgecnn=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        machine=machine,
        case=case,
        engine=known.facts["engine"],
        pin=pin,
        states=tuple(states),
        verdict=judge_runs(judge(states, machine.cores), whole, known.clocks),
        partitions=known.facts["partitions"],
        whole=tuple(whole),
        empty=tuple(known.times[EMPTY, 0]),
        operations=tuple(_operation(known, place) for place in range(count)),
    )


def _operation(known: _Progress, place: int) -> Operation:
    lonely = (ALONE, place + 1)
    times = {
        "prefix": known.times[PREFIX, place + 1],
        "alone": known.times.get(lonely, []),
        "failure": known.failures.get(lonely),
    }
    operation: Operation = decode(Operation, known.facts["operations"][place] | times)
    return operation


def _run(case: Case, count: int, pin: tuple[int, ...], around: Surroundings, known: _Progress, last: bool) -> None:
    """One process; another goes on where a slice ended it, and does not try that slice again."""
    numbers = range(1, count + 1)
    upwards = [(EMPTY, 0), *((part, number) for number in numbers for part in (PREFIX, ALONE)), (WHOLE, 0)]
    ahead = deque([*upwards, *reversed(upwards)])
    first: dict[Slice, float] = {}
    while ahead:
        with around.start(case) as worker:
            worker.ask({"do": "cut", "file": case.file, "threads": case.threads, "pin": pin}, around.patience)
            while ahead:
                each = ahead.popleft()
                if each in known.failures:
                    continue
                order = {"do": "slice", "part": each[0], "count": each[1], "batch": case.batch}
                try:
                    answer = worker.ask(order, around.patience)
                except CheckFailedError as error:
                    _note_failure(case, each, error, known)
                    break
                known.clocks += answer["clocks_mhz"]
                if each in first:
                    known.times.setdefault(each, []).append((first[each] + answer["call"]) / 2)
                first[each] = answer["call"]
            else:
                if last:
                    known.facts = worker.ask({"do": "dissect"}, around.patience)


def _note_failure(case: Case, which: Slice, error: CheckFailedError, known: _Progress) -> None:
    part, number = which
    if part != ALONE:
        what = f"cut after operation {number} it " if part == PREFIX else ""
        raise CheckFailedError(f"{case.file} {what}{error}") from error
    known.failures[which] = str(error)
    known.times.pop(which, None)
