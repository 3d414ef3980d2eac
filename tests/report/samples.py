"""Result files as a bench would write them, made up: any number of files, machines and misfortunes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecnn.measure.dissection import Operation, Profile
from edgecnn.measure.machine import Machine
from edgecnn.measure.measurement import Emulation, Energy, Graph, Measurement, Run, Session, Settings, Window
from edgecnn.measure.trust import INVALID, UNSTABLE, VALID, Verdict
from edgecnn.report.sections import Profiled, Section, Source, sections
from edgecnn.runtime.manifest import Accuracy
from tests.measure.scripted import MACHINE, QUIET, after, case

HOSTILE = "<script>alert('x')</script>\"|`@someone`\x1b[31m\u202e\udc80<b>"
THROTTLED = Verdict(INVALID, ("under-voltage during the run",))
NO_METER = Energy(None, None, False, "no meter here")
EMULATED = dataclasses.replace(MACHINE, board=None, cpu="Cortex-A72, emulated by qemu-user", emulated=True)
OTHER = dataclasses.replace(MACHINE, board="Board 2")
# Microseconds, bytes and right answers of 1,000, much as five models in float32 and static_w8a8 have them.
FIVE = {
    "lenet": (24, 257_224, 737), "mod_cnn": (47, 521_844, 798), "depthwise": (30, 450_460, 741),
    "depth_res": (76, 960_504, 801), "resnet8": (220, 320_564, 885),
}  # fmt: skip


def run(microseconds: float, seed: int = 0, calls: int = 400) -> Run:
    """A run whose calls take about so long, few of them much longer."""
    noise = np.random.default_rng(seed).gamma(2, 0.01, calls)
    noise[::97] = 9
    samples = tuple(int(1000 * microseconds * (1 + each)) for each in noise)
    return Run(
        start=20_000_000, imports=90_000_000, load=5_000_000, first=300_000, base_bytes=10_000_000,
        peak_bytes=12_000_000, overhead=60, clocks_mhz=(1500.0,), warm_ups=samples[:3], samples=samples,
    )  # fmt: skip


def row(
    model: str | None = "lenet", recipe: str | None = "float32", microseconds: float = 100, size: int = 1000,
    correct: int | None = 500, runs: int = 5, runtime: str = "litert", threads: int = 1, **changes: Any,
) -> Measurement:  # fmt: skip
    """One measurement that went well; ``changes`` are other fields of it."""
    file = f"{model}_{recipe}.tflite"
    of = dataclasses.replace(
        case(file, f"some/{model}"), model=model, recipe=recipe, bytes=size, runtime=runtime, threads=threads
    )
    measured = tuple(run(microseconds, seed) for seed in range(runs))
    fields: dict[str, Any] = {
        "case": of, "engine": f"{runtime} 1.0", "failure": None, "runs": measured,
        "accuracy": None if correct is None else Accuracy(correct, 1000), "energy": NO_METER,
        "verdict": Verdict(VALID),
    }  # fmt: skip
    return Measurement(**(fields | changes))


def five(runtimes: Sequence[str] = ("litert",), threads: Sequence[int] = (1,)) -> list[Measurement]:
    """Five models in two recipes, on every runtime and number of threads."""
    found = []
    for place, runtime in enumerate(runtimes):
        for count in threads:
            for model, (us, size, correct) in FIVE.items():
                slower = (1 + 0.7 * place) / count**0.2
                given: dict[str, Any] = {"runtime": runtime, "threads": count}
                found.append(row(model, "float32", us * slower, size, correct - 2 * place, **given))
                small = int(0.3 * size)
                found.append(row(model, "static_w8a8", 0.45 * us * slower, small, correct + 1 - 2 * place, **given))
    return found


def emulated(model: str, instructions: int, **changes: Any) -> Measurement:
    """One measurement of an emulated machine."""
    counts = Emulation("cortex-a72", (instructions, instructions + 10), 1000, 0.0)
    return row(model, "static_w8a8", runs=0, emulation=counts, **changes)


def sustained(throttled_from: float = 1e9, seconds: int = 60) -> tuple[Window, ...]:
    """A run that slows down and warms up; from some second on it is throttled."""
    return tuple(
        Window(float(at), int(100_000 * (1 + 0.002 * at)), 1500.0 - at, 50 + at / 3, 0x4 if at > throttled_from else 0)
        for at in range(1, seconds + 1)
    )


def session(rows: Sequence[Measurement], machine: Machine = MACHINE, **changes: Any) -> Session:
    """A session of these measurements; ``changes`` are other fields of it."""
    fields: dict[str, Any] = {
        "edgecnn": "1.0", "created": "2026-01-02T03:04:05+00:00", "machine": machine, "settings": Settings(),
        "states": (QUIET, after()), "verdict": Verdict(VALID), "measurements": tuple(rows),
    }  # fmt: skip
    return Session(**(fields | changes))


def invalid(rows: Sequence[Measurement], **changes: Any) -> Session:
    """A session in which the machine was throttled."""
    return session([dataclasses.replace(each, verdict=THROTTLED) for each in rows], verdict=THROTTLED, **changes)


def profile(machine: Machine = MACHINE, module: str = "conv1", **changes: Any) -> Profile:
    """A profile of a file with three operations, one of them outside the delegate, one that may cost nothing."""

    def operation(name: str, microseconds: Sequence[float], inside: bool, macs: int | None) -> Operation:
        return Operation(name, (1, 8, 8, 4), "int8", module, macs, inside, True, _nano(microseconds), (), None)

    fields: dict[str, Any] = {
        "edgecnn": "1.0", "created": "2026-01-02T03:04:05Z", "machine": machine, "engine": "litert 1.0", "pin": (),
        "case": dataclasses.replace(case("lenet.tflite", "some/lenet"), model="lenet"), "states": (QUIET, after()),
        "verdict": Verdict(VALID), "partitions": 2, "whole": _nano((20, 21, 20, 20, 21)),
        "empty": _nano((1, 1, 1.2, 1, 1)),
        "operations": (
            operation("CONV_2D", (13, 13.5, 13, 13, 13), True, 27_648),
            operation("RESHAPE", (13, 13.6, 12.9, 13, 13.1), True, None),
            operation("AVERAGE_POOL_2D", (20, 20.5, 20, 20, 21), False, None),
        ),
    }  # fmt: skip
    return Profile(**(fields | changes))


def _nano(microseconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(1000.0 * value for value in microseconds)


def sections_of(*results: Session | Profile) -> tuple[Section, ...]:
    """The sections of a report on these, from files run-1.json and so on."""
    named = [(f"run-{number}.json", each) for number, each in enumerate(results, 1)]
    sources = [Source(name, each) for name, each in named if isinstance(each, Session)]
    return sections(sources, [Profiled(name, each) for name, each in named if isinstance(each, Profile)])


def everything() -> list[Session | Profile]:
    """Results that fill every part of a page: failures, doubts, emulation, sustained runs, names that mean harm."""
    graph = Graph(("CONV_2D",), (), 1, 12_345)
    rows = [
        *five(),
        row("hot", sustained=sustained(40), graph=graph, energy=Energy(1.2e-5, "a chip", True, None)),
        row("cool", sustained=sustained(), verdict=Verdict(UNSTABLE, ("runs of the same file differ by 12%",))),
        row(HOSTILE, HOSTILE), row("unscored", correct=None), row("many", runs=12, microseconds=2500),
        row("broken", runs=0, failure="was killed by SIGILL"),
    ]  # fmt: skip
    return [
        session(rows),
        invalid(five(), machine=OTHER),
        session([emulated("lenet", 1_230_000), emulated("resnet8", 12_600_000, correct=885)], EMULATED),
        profile(), profile(OTHER, HOSTILE, verdict=THROTTLED),
    ]  # fmt: skip
