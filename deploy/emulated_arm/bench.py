"""Files on an emulated CPU: whether they give there what they give here, and how many instructions they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from edgecnn import __version__
from edgecnn.deploy.emulated_arm.cache import Say
from edgecnn.deploy.emulated_arm.counts import PATIENCE, count_all
from edgecnn.deploy.emulated_arm.cpus import CPU, find
from edgecnn.deploy.emulated_arm.emulator import Emulator, emulator_for
from edgecnn.deploy.emulated_arm.root import RELEASE
from edgecnn.deploy.emulated_arm.together import Poll, together
from edgecnn.deploy.emulated_arm.verdict import check_counts, largest_difference
from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.machine import Machine, State, read_machine, read_state
from edgecnn.measure.measurement import Case, Emulation, Energy, Measurement, Session, Settings
from edgecnn.measure.trust import UNSTABLE, VALID, Verdict
from edgecnn.runtime.engines import RUNTIMES
from edgecnn.runtime.manifest import Accuracy

MOST_IMAGES = 1000
SCORING_PATIENCE = 7200.0  # a float network takes a second or more for ten images
RUNTIME = "litert"


def bench(target: str, order: Order, say: Say, make: Callable[[CPU, Say], Emulator] = emulator_for) -> Session:
    """Carry the order out on the emulated CPU of a target like ``emulated:cortex-a72``.

    Every .tflite file is checked once, on up to MOST_IMAGES images of its bundle, and counted in ``settings.runs``
    processes. No time is measured, so as many processes as there are CPUs run at once. Raises UsageError for what
    cannot be asked of an emulated CPU, CheckFailedError when the device code does not import there, and what
    emulator_for raises.
    """
    cpu = find(target)
    cases = find_tflite(order, say)
    emulator = make(cpu, say)
    before = _state()
    say(f"starting {emulator.name} as a {cpu.title}")
    with emulator.plain() as worker:
        about = worker.ask({"do": "about"}, PATIENCE)
        modules = worker.ask({"do": "imports"}, PATIENCE)["modules"]
    say(f"{modules} modules import there; checking and counting {len(cases)} files")
    runs = order.settings.runs
    checks = [partial(_check, case, cpu, emulator, say) for case in cases]
    counts = [partial(_count, cases, emulator, say, number + 1, runs) for number in range(runs)]
    done = together([*checks, *counts])
    checked, counted = done[: len(cases)], done[len(cases) :]
    rows = [_row(case, cpu, check, [each[place] for each in counted])
            for place, (case, check) in enumerate(zip(cases, checked, strict=True))]  # fmt: skip
    here = sorted({check.here for check in checked if check.here is not None})
    return Session(
        edgecnn=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        machine=_machine(cpu, emulator, about),
        settings=order.settings,
        states=(before, _state()),
        verdict=_verdict(cpu, here),
        measurements=tuple(rows),
    )


@dataclass(frozen=True)
class Checked:
    """What a file gave: the engines ``there`` and ``here``, and why it failed, if it did."""

    there: str | None = None
    here: str | None = None
    accuracy: Accuracy | None = None
    images: int = 0
    difference: float = 0.0
    failure: str | None = None


def find_tflite(order: Order, say: Say) -> list[Case]:
    """The order's .tflite files; ``say`` hears what is left out. Raises UsageError for what makes no sense there."""
    asked, usual = order.settings, Settings()
    for name, given, allowed in (
        ("--threads", order.threads, (1,)), ("--batch", order.batches, (1,)), ("--pin", asked.pin, usual.pin),
        ("--min-seconds", asked.min_seconds, usual.min_seconds), ("--cooldown", asked.cooldown, usual.cooldown),
        ("--sustained", asked.sustained, usual.sustained),
    ):  # fmt: skip
        if given != allowed:
            shown = ",".join(map(str, given)) if isinstance(given, tuple) else f"{given:g}"
            raise UsageError(
                f"{name} {shown} cannot be had on an emulated CPU, where no time is measured, but the instructions of "
                f"one thread on one image are counted; leave out {name}"
            )
    if order.runtimes and RUNTIME not in order.runtimes:
        raise UsageError(f"--runtime {','.join(order.runtimes)} cannot run on an emulated CPU (valid: {RUNTIME})")
    every = find_cases(dataclasses.replace(order, runtimes=tuple(RUNTIMES)))
    cases = [case for case in every if case.runtime == RUNTIME]
    others = {case.file for case in every} - {case.file for case in cases}
    named = f"{len(others)} others ({', '.join(sorted({Path(file).suffix for file in others}))})"
    if not cases:
        raise UsageError(f"only .tflite files run on an emulated CPU, and there is none beside {named}")
    if others:
        say(f"only .tflite files run on an emulated CPU; left out: {named}")
    return cases


def _check(case: Case, cpu: CPU, emulator: Emulator, say: Say, poll: Poll) -> Checked:
    """Compare the outputs of the same device code in two processes, one there and one here."""
    request = {"do": "outputs", "case": dataclasses.asdict(case), "most": MOST_IMAGES}
    answers: list[dict[str, Any]] = []
    try:
        for start in (emulator.here, emulator.plain):
            with start() as worker:
                answers.append(worker.ask(request, SCORING_PATIENCE, poll))
        here, there = answers
        difference = largest_difference(cpu.system, there, here)
    except CheckFailedError as error:
        engines = [*(str(answer["engine"]) for answer in answers), None, None]
        return Checked(there=engines[1], here=engines[0], failure=str(error).removeprefix(f"{case.file} "))
    images, right = len(there["outputs"]), there["correct"]
    say(f"{Path(case.file).name} is compared on {images:,} images")
    accuracy = None if right is None else Accuracy(right, images)
    return Checked(there["engine"], here["engine"], accuracy, images, difference)


def _count(cases: Sequence[Case], emulator: Emulator, say: Say, number: int, runs: int, poll: Poll) -> list[int | str]:
    results = count_all([case.file for case in cases], emulator, poll)
    say(f"count {number} of {runs} is done")
    return results


def _row(case: Case, cpu: CPU, checked: Checked, counts: Sequence[int | str]) -> Measurement:
    reasons = [checked.failure, *(each for each in counts if isinstance(each, str))]
    failure = next((reason for reason in reasons if reason is not None), None)
    numbers = [each for each in counts if isinstance(each, int)]
    try:
        if failure is None:
            check_counts(numbers)
    except CheckFailedError as error:
        failure = str(error)
    complete = failure is None
    verdict = Verdict(VALID)
    if len(numbers) < 2:
        verdict = Verdict(UNSTABLE, ("1 count tells nothing of the spread; ask for --runs 5",))
    return Measurement(
        case=case,
        engine=checked.there,
        failure=failure,
        runs=(),
        accuracy=checked.accuracy,
        energy=Energy(None, None, False, "emulated"),
        verdict=verdict,
        emulation=Emulation(cpu.title, tuple(numbers), checked.images, checked.difference) if complete else None,
    )


def _verdict(cpu: CPU, here: Sequence[str]) -> Verdict:
    return Verdict(
        VALID,
        (
            f"emulated: a {cpu.title}, as on {cpu.board}, was played by another machine; no time was measured",
            f"outputs were compared with {' and '.join(here) or 'nothing'} on this machine, {read_machine().cpu}",
        ),
    )


def _machine(cpu: CPU, emulator: Emulator, about: dict[str, Any]) -> Machine:
    return Machine(
        board=None,
        cpu=about["cpu"],
        architecture=about["architecture"],
        cores=1,
        features=tuple(about["features"]),
        virtual=False,
        system=f"Debian 12 ({RELEASE}) in {emulator.name}",
        kernel=read_machine().kernel,
        python=about["python"],
        memory_bytes=None,
        emulated=True,
    )


def _state() -> State:
    """A moment. Clock, heat and throttling would be those of this machine, not of the emulated one."""
    moment = read_state()
    return dataclasses.replace(moment, governor=None, mhz=None, celsius=None, throttled=None, throttle_events=None)
