"""What each operation of a .tflite file costs on an emulated CPU, in instructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Any

from edgecnn.deploy.emulated_arm.bench import find_tflite
from edgecnn.deploy.emulated_arm.cache import Say
from edgecnn.deploy.emulated_arm.counts import PATIENCE
from edgecnn.deploy.emulated_arm.cpus import CPU, find
from edgecnn.deploy.emulated_arm.emulator import Emulator, emulator_for
from edgecnn.deploy.emulated_arm.together import Poll, together
from edgecnn.deploy.emulated_arm.verdict import check_counts
from edgecnn.errors import CheckFailedError
from edgecnn.measure.cases import Order
from edgecnn.runtime.tflite_verifier import read_verified


@dataclass(frozen=True)
class Operation:
    """An operation by TFLite's name, its output, and what it adds; below 0 where the engine does less with it."""

    name: str
    output: str
    instructions: int


@dataclass(frozen=True)
class Operations:
    """A file on a ``cpu``: instructions of a call without an operation (``fixed``), and what each operation adds."""

    file: str
    cpu: str
    emulator: str
    counts: int
    fixed: int
    operations: tuple[Operation, ...]

    @property
    def total(self) -> int:
        """Instructions of a call of the whole file."""
        return self.fixed + sum(each.instructions for each in self.operations)


def instructions_by_operation(
    target: str, order: Order, say: Say, make: Callable[[CPU, Say], Emulator] = emulator_for
) -> Operations:
    """Count the prefixes of the order's first file on the emulated CPU of a target like ``emulated:cortex-a72``.

    An operation costs what the prefix that ends with it takes more than the one before, of the medians over
    ``settings.runs`` processes. Where the engine fuses two, the first has too many and the second too few. Raises
    BadFileError for a file that the verifier refuses, CheckFailedError when it cannot be run there or its counts do not
    repeat, UsageError for what cannot be asked of an emulated CPU, and what emulator_for raises.
    """
    cpu = find(target)
    case = find_tflite(order, say)[0]
    read_verified(Path(case.file))  # an emulator is no wall: what runs in it may do whatever this user may
    emulator = make(cpu, say)
    runs = order.settings.runs
    answers = together([partial(_count, case.file, emulator, say, number + 1, runs) for number in range(runs)])
    prefixes = list(zip(*(answer["instructions"] for answer in answers), strict=True))
    try:
        check_counts(prefixes[-1])
    except CheckFailedError as error:
        raise CheckFailedError(f"{case.file} {error}") from error
    counts = [median_low(each) for each in prefixes]
    added = [after - before for before, after in pairwise(counts)]
    steps = zip(answers[0]["names"], answers[0]["outputs"], added, strict=True)
    return Operations(case.file, cpu.title, emulator.name, runs, counts[0], tuple(Operation(*step) for step in steps))


def _count(file: str, emulator: Emulator, say: Say, number: int, runs: int, poll: Poll) -> dict[str, Any]:
    with emulator.counted() as worker:
        answer = worker.ask({"do": "operations", "file": file}, PATIENCE, poll)
    say(f"count {number} of {runs} is done")
    return answer
