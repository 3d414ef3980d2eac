"""The order of a bench and what becomes of its parts, with scripted workers and a scripted machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from edgecnn.errors import UsageError
from edgecnn.measure.bench import bench
from edgecnn.measure.energy import Meter
from edgecnn.measure.figures import figures, medians
from edgecnn.measure.measurement import Case, Graph, Settings
from tests.measure.scripted import QUIET, ScriptedWorker, after, case, quiet, surroundings

A, B, C = case("a.tflite"), case("b.tflite"), case("c.tflite")


class Workers:
    """Starts scripted workers and remembers whose turn it was."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.order: list[str] = []
        self.started: list[ScriptedWorker] = []

    def __call__(self, which: Case) -> ScriptedWorker:
        self.order.append(which.file[0])
        microseconds = 100.0 if which.file.startswith("a") else 50.0
        self.started.append(ScriptedWorker(microseconds, **self.settings.get(which.file[0], {})))
        return self.started[-1]


def test_files_take_turns_each_in_a_new_process_that_is_closed() -> None:
    workers, told = Workers(), list[str]()
    session = bench([A, B], Settings(runs=3, min_seconds=1.5), surroundings(workers, quiet()), told.append)
    assert "".join(workers.order) == "ababab"
    assert all(worker.closed for worker in workers.started)
    assert told == ["round 1 of 3", "round 2 of 3", "round 3 of 3"]
    assert [request["do"] for request in workers.started[0].asked] == ["open", "time"]
    assert workers.started[0].asked[1] == {"do": "time", "warm_up": 0.1, "seconds": 0.5, "at_least": 10}
    first, second = session.measurements
    assert (medians(first), medians(second)) == ([100.0] * 3, [50.0] * 3)
    assert (first.engine, first.failure) == ("engine 1", None)
    assert (first.verdict.level, session.verdict.level) == ("valid", "valid")
    assert len(session.states) == 4
    assert session.created.endswith("Z")


def test_a_process_that_dies_is_one_row_and_the_rest_goes_on() -> None:
    workers = Workers(b={"fails_at": "time"})
    session = bench([A, B, C], Settings(runs=2), surroundings(workers, quiet()))
    assert "".join(workers.order) == "abcac"
    good, bad, other = session.measurements
    assert (bad.failure, bad.engine, bad.runs) == ("was killed by SIGILL", "engine 1", ())
    assert (good.failure, other.failure, len(good.runs), len(other.runs)) == (None, None, 2, 2)


def test_accuracy_is_scored_once_and_after_all_timing() -> None:
    workers = Workers()
    session = bench([case(bundle="b")], Settings(runs=2), surroundings(workers, quiet()))
    assert [[request["do"] for request in worker.asked] for worker in workers.started] == [
        ["open", "time"], ["open", "time", "score", "anatomy"],
    ]  # fmt: skip
    accuracy = session.measurements[0].accuracy
    assert accuracy is not None and (accuracy.correct, accuracy.images) == (9, 10)


def test_the_graph_and_the_floor_are_looked_at_once_when_all_is_timed() -> None:
    def worker(_case: Case) -> ScriptedWorker:
        made = ScriptedWorker(50.0)
        made.graph = {"operations": ["CONV_2D", "SIGN"], "outside": ["SIGN"], "partitions": 1, "arena_bytes": 99}
        made.floor = 1100
        return made

    (row,) = bench([A], Settings(runs=3), surroundings(worker, quiet())).measurements
    assert row.graph == Graph(("CONV_2D", "SIGN"), ("SIGN",), 1, 99)
    assert row.floor == 1100


def test_a_failed_scoring_keeps_the_runs() -> None:
    session = bench([case(bundle="b")], Settings(), surroundings(Workers(a={"fails_at": "score"}), quiet()))
    row = session.measurements[0]
    assert (row.failure, len(row.runs), row.accuracy) == ("was killed by SIGILL", 5, None)


class FakeMeter(Meter):
    """Always the same energy, or none."""

    source = "a fake"
    estimate = True

    def __init__(self, energy: float | None) -> None:
        self.energy = energy
        self.calls: list[str] = []

    def begin(self) -> None:
        self.calls.append("begin")

    def poll(self) -> None:
        self.calls.append("poll")

    def joules(self) -> float | None:
        return self.energy


def test_energy_is_metered_in_a_span_of_its_own() -> None:
    workers, meter = Workers(), FakeMeter(2.0)
    session = bench([case(batch=4)], Settings(runs=2), surroundings(workers, quiet(), meter))
    energy = session.measurements[0].energy
    assert (energy.joules, energy.source, energy.estimate, energy.reason) == (2.0 / (500 * 4), "a fake", True, None)
    assert meter.calls == ["begin", "poll", "poll"]
    assert [request["do"] for request in workers.started[-1].asked] == ["open", "time", "spend", "anatomy"]


def test_energy_that_cannot_be_had_says_why() -> None:
    unread = bench([A], Settings(), surroundings(Workers(), quiet(), FakeMeter(None))).measurements[0].energy
    assert (unread.joules, unread.reason) == (None, "the meter could not be read during the run")
    none = bench([A], Settings(), surroundings(Workers(), quiet(), "no meter here")).measurements[0].energy
    assert (none.joules, none.reason) == (None, "no meter here")


def test_throttling_in_one_round_makes_every_row_invalid() -> None:
    def states() -> Iterator[Any]:
        yield QUIET
        yield after(throttled=0x1)
        yield after(after())

    session = bench([A, B], Settings(runs=2), surroundings(Workers(), states()))
    assert session.invalid
    assert [row.verdict.level for row in session.measurements] == ["INVALID", "INVALID"]


def test_a_moving_clock_makes_its_own_row_unstable() -> None:
    workers = Workers(b={"clocks": (1500.0, 900.0)}, a={"clocks": (1500.0, 1500.0)})
    session = bench([A, B], Settings(runs=2), surroundings(workers, quiet()))
    assert [row.verdict.level for row in session.measurements] == ["valid", "unstable"]


def test_runs_that_differ_make_their_row_unstable() -> None:
    slower = count(100, 20)
    session = bench([A], Settings(), surroundings(lambda _case: ScriptedWorker(next(slower)), quiet()))
    assert "differ by 57%" in session.measurements[0].verdict.reasons[0]
    assert figures(session.measurements[0]).p50_interval == (100.0, 180.0)


def test_cooldown_rests_before_every_run() -> None:
    rests: list[float] = []
    bench([A, B], Settings(runs=2, cooldown=7.5), surroundings(Workers(), quiet(), rests=rests))
    assert rests == [7.5] * 4
    bench([A], Settings(runs=2), surroundings(Workers(), quiet(), rests=rests))
    assert len(rests) == 4


def test_figures_are_per_image_and_the_median_over_runs() -> None:
    speeds = iter([100.0, 400.0, 104.0])
    row = bench(
        [case(batch=4)], Settings(runs=3), surroundings(lambda _case: ScriptedWorker(next(speeds)), quiet())
    ).measurements[0]
    assert medians(row) == [25, 100, 26]
    known = figures(row)
    assert (known.p50, known.p90, known.minimum, known.samples) == (26, 26, 25, 36)
    assert known.p99 == pytest.approx(26 * (1 + 2 * 0.89))
    assert known.mean == pytest.approx(26 * 14 / 12)
    assert known.images_per_second == pytest.approx(1e6 / known.mean)
    assert known.spread == pytest.approx(300 / 104)
    assert known.p50_interval is None
    assert (known.cold_start, known.cold_first, known.memory_bytes, known.overhead_nanoseconds) == (6.5, 0.5, 2e6, 50)


def test_what_cannot_be_measured_is_refused() -> None:
    around = surroundings(Workers(), quiet())
    cpu = min(os.sched_getaffinity(0))
    with pytest.raises(UsageError, match="0 files in 5 runs"):
        bench([], Settings(), around)
    with pytest.raises(UsageError, match="--pin 999 names a CPU"):
        bench([A], Settings(pin=(999,)), around)
    for wrong in (float("nan"), float("inf"), -1.0, 1e6):
        with pytest.raises(UsageError, match="sustained is .* 0 to 604800 seconds"):
            bench([A], Settings(sustained=wrong), around)
    many = Case("a.tflite", None, 1, "0" * 64, None, None, "litert", 2, 1, None)
    with pytest.raises(UsageError, match="--threads 2 is more than the 1 CPUs"):
        bench([many], Settings(pin=(cpu,)), around)
