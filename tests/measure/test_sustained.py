"""A sustained run: its windows, what they say, and what a bench makes of them, all scripted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from edgecnn.measure.bench import bench
from edgecnn.measure.machine import State
from edgecnn.measure.measurement import Session, Settings, Window
from edgecnn.measure.sustained import doubts, window_seconds
from tests.measure.scripted import QUIET, ScriptedWorker, after, case, quiet, surroundings


def windows(times: Sequence[float], **changes: Any) -> list[Window]:
    """A window a second of these median nanoseconds."""
    return [
        dataclasses.replace(Window(place + 1.0, round(time), 1500.0, 50.0, 0), **changes)
        for place, time in enumerate(times)
    ]


def noisy(level: float, count: int, seed: int = 0) -> list[float]:
    return (level * np.random.default_rng(seed).normal(1, 0.01, count)).tolist()


def test_windows_are_a_second_or_a_25th_of_the_run() -> None:
    assert (window_seconds(3600), window_seconds(25), window_seconds(5)) == (1.0, 1.0, 0.2)


def test_a_file_that_keeps_its_speed_is_not_doubted() -> None:
    assert doubts([]) == []
    assert doubts(windows(noisy(100_000, 60))) == []
    assert doubts(windows([*noisy(100_000, 30), *noisy(104_000, 30)])) == []  # below the limit
    assert doubts(windows([*noisy(120_000, 12), *noisy(100_000, 48)])) == []  # it becomes faster


def test_a_file_that_slows_down_says_by_how_much_and_when() -> None:
    slowing = windows([*noisy(100_000, 40), *noisy(130_000, 60, 1)])
    assert doubts(slowing) == ["slows down by 30% after 40 s (limit 5%)"]


def test_a_slow_end_that_chance_explains_is_not_a_slowing_down() -> None:
    wild = [100_000, 140_000] * 10 + [101_000, 139_000, 141_000, 102_000, 140_000]
    assert np.median(wild[-5:]) > 1.05 * np.median(wild[:5])
    assert doubts(windows(wild)) == []


def test_hours_are_judged_in_no_time() -> None:
    day = windows([*noisy(100_000, 40_000), *noisy(110_000, 46_400)])
    assert doubts(day) == ["slows down by 10% after 41472 s (limit 5%)"]


def test_too_few_windows_tell_nothing() -> None:
    assert doubts(windows([1e9] * 24)) == ["24 windows tell nothing of a slowing down; ask for a longer --sustained"]


def test_throttling_is_told_with_its_time() -> None:
    hot = windows(noisy(100_000, 30))
    hot[7] = dataclasses.replace(hot[7], throttled=0x60006)
    assert doubts(hot) == ["clock capped, throttled 8 s into the sustained run"]
    assert doubts(windows(noisy(100_000, 30), throttled=0xF0000)) == []  # of before


def answers(times: Sequence[float], **changes: list[Any]) -> list[dict[str, Any]]:
    """What a process says of windows of a second each; ``changes`` has a list for some fields."""
    fixed = {"mhz": 1500.0, "celsius": 50.0, "throttled": 0, "events": None}
    return [
        {"at": place + 1.0, "p50": round(time), **fixed, **{name: values[place] for name, values in changes.items()}}
        for place, time in enumerate(times)
    ]


class Bench:
    """A bench of two files in 2 runs, sustained for 25 seconds, of which the first has these windows."""

    def __init__(
        self, script: Sequence[dict[str, Any]], states: Iterator[State] | None = None, fails_at: str = "",
        **settings: Any,
    ) -> None:  # fmt: skip
        self.script, self.fails_at = script, fails_at
        self.workers: list[ScriptedWorker] = []
        self.told: list[str] = []
        self.rests: list[float] = []
        around = surroundings(self.start, states or quiet(), rests=self.rests)
        chosen = Settings(**({"runs": 2, "sustained": 25.0} | settings))
        self.session: Session = bench([case("a"), case("b")], chosen, around, self.told.append)

    def start(self, which: Any) -> ScriptedWorker:
        first = which.file == "a"
        script = self.script if first else answers([90_000] * 25)
        self.workers.append(ScriptedWorker(100.0, (), self.fails_at if first else "", script))
        return self.workers[-1]


def test_each_file_runs_on_in_a_process_of_its_own_after_all_rounds() -> None:
    done = Bench(answers([100_000] * 25))
    asked = [[request["do"] for request in worker.asked] for worker in done.workers[4:]]
    assert asked == [["open", *["sustain"] * 25]] * 2
    assert done.workers[4].asked[1] == {"do": "sustain", "seconds": 1.0}
    assert all(worker.closed for worker in done.workers)
    first, second = done.session.measurements
    assert [window.at for window in first.sustained] == [float(second) for second in range(1, 26)]
    assert (first.sustained[0], len(second.sustained)) == (Window(1.0, 100_000, 1500.0, 50.0, 0), 25)
    assert (first.verdict.level, len(done.session.states)) == ("valid", 3 + 2)


def test_no_sustained_run_unless_asked_for() -> None:
    done = Bench([], sustained=0.0)
    assert (len(done.workers), done.session.measurements[0].sustained) == (4, ())


def test_a_window_is_shorter_by_what_looking_at_the_machine_took() -> None:
    script = answers([100_000] * 25)
    script[0]["at"] = 1.25
    done = Bench(script)
    assert [request["seconds"] for request in done.workers[4].asked[1:4]] == [1.0, 0.75, 1.0]


def test_slowing_down_makes_its_row_unstable_and_no_other() -> None:
    session = Bench(answers([100_000] * 10 + [150_000] * 15)).session
    slow, steady = session.measurements
    assert (slow.verdict.level, slow.verdict.reasons) == ("unstable", ("slows down by 50% after 10 s (limit 5%)",))
    assert (steady.verdict.level, session.verdict.level) == ("valid", "valid")


def test_throttling_in_one_window_makes_the_session_invalid_and_is_told_at_once() -> None:
    done = Bench(answers([100_000] * 25, throttled=[0] * 9 + [0x4] * 3 + [0] * 13))
    assert done.session.invalid
    assert done.session.verdict.reasons == ("throttled during the run",)
    assert [row.verdict.level for row in done.session.measurements] == ["INVALID"] * 2
    assert "throttled 10 s into the sustained run" in done.session.measurements[0].verdict.reasons
    news = [line for line in done.told if "throttled" in line]
    assert news == ["sustained 1 of 2: 10 of 25 s, 100.0 us a call, 50 °C, throttled, 40 s left"]


def test_x86_throttling_is_told_at_once_and_invalid_by_the_states() -> None:
    def states() -> Iterator[State]:
        cold = dataclasses.replace(QUIET, throttled=None, throttle_events=5)
        for events in (5, 5, 5, 7, 7):
            yield cold
            cold = after(cold, throttle_events=events)

    done = Bench(answers([100_000] * 25, events=[5] * 20 + [7] * 5, throttled=[None] * 25), states())
    assert sum("throttled" in line for line in done.told) == 1
    assert done.session.invalid
    assert done.session.verdict.reasons == ("the CPU throttled for heat 2 times during the run",)


def test_a_sustained_run_may_warm_the_machine() -> None:
    def states() -> Iterator[State]:
        cold = QUIET
        for celsius in (50.0, 52.0, 80.0, 82.0, 82.0):
            yield cold
            cold = after(cold, celsius=celsius)

    assert Bench(answers([100_000] * 25), states()).session.verdict.level == "valid"


def test_a_sustained_run_that_fails_keeps_the_runs_and_the_other_file() -> None:
    first, second = Bench([], fails_at="sustain").session.measurements
    assert (first.failure, len(first.runs), first.sustained) == ("was killed by SIGILL", 2, ())
    assert (second.failure, len(second.sustained)) == (None, 25)


def test_cooldown_rests_before_a_sustained_run_too() -> None:
    assert Bench(answers([100_000] * 25), cooldown=3.0).rests == [3.0] * 6


@pytest.mark.parametrize("seconds", [0.5, 25.0])
def test_a_run_of_slow_calls_ends_in_time(seconds: float) -> None:
    slow = answers([9_000_000_000] * 3)
    for place, answer in enumerate(slow):
        answer["at"] = 9.0 * (place + 1)
    first = Bench([*slow, *slow], sustained=seconds).session.measurements[0]
    assert len(first.sustained) == (1 if seconds < 9 else 3)
    assert "windows tell nothing of a slowing down" in first.verdict.reasons[0]
