"""Every verdict, from states and runs that call for it."""

from __future__ import annotations

from typing import Any

import pytest

from edgecnn.measure.machine import State
from edgecnn.measure.trust import INVALID, UNSTABLE, VALID, Verdict, judge, judge_runs
from tests.measure.scripted import QUIET, after

CALM = [100.0, 101.0, 102.0]


def later(**changes: Any) -> list[State]:
    return [QUIET, after(**changes)]


def test_a_quiet_machine_is_valid() -> None:
    assert judge(later(), 4) == Verdict(VALID)
    assert judge(later(others=2.0), 4) == Verdict(VALID)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (0x1, "under-voltage"), (0x2, "clock capped"), (0x4, "throttled"), (0x8, "soft temperature limit"),
        (0x50005, "under-voltage"), (0x10000, "under-voltage"), (0x80000, "soft temperature limit"),
    ],
)  # fmt: skip
def test_flags_that_come_up_are_invalid(flags: int, words: str) -> None:
    verdict = judge(later(throttled=flags), 4)
    assert verdict.level == INVALID
    assert verdict.reasons[0] == f"{words} during the run"


def test_a_flag_seen_only_between_rounds_is_invalid() -> None:
    middle = after(throttled=0x2)
    assert judge([QUIET, middle, after(middle, throttled=0)], 4).reasons == ("clock capped during the run",)


def test_flags_from_before_hide_what_happens_now() -> None:
    before = after(throttled=0x20000)
    verdict = judge([before, after(before)], 4)
    assert verdict.level == UNSTABLE
    assert "clock capped since boot" in verdict.reasons[0]
    both = judge([before, after(before, throttled=0x60000)], 4)
    assert both.level == INVALID
    assert both.reasons[0] == "throttled during the run"


def test_x86_throttling_is_invalid_when_it_counts_on() -> None:
    hot = after(throttle_events=7)
    assert judge([hot, after(hot)], 4).level == VALID
    verdict = judge([hot, after(hot, throttle_events=9)], 4)
    assert verdict == Verdict(INVALID, ("the CPU throttled for heat 2 times during the run",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"others": 3.0}, "other processes kept 0.3 of 4 CPUs busy"),
        ({"others": 1.0, "stolen": 1.0}, "the hypervisor gave 2% of the CPUs to others"),
        ({"governor": "powersave"}, "the governor changed from performance to powersave"),
        ({"celsius": 66.0}, "the CPU warmed from 50 to 66 °C; run again, or give --cooldown"),
    ],
)
def test_what_makes_a_session_unstable(changes: dict[str, Any], words: str) -> None:
    assert judge(later(**changes), 4) == Verdict(UNSTABLE, (words,))


def test_stolen_time_is_not_blamed_on_other_processes_too() -> None:
    assert len(judge(later(others=4.0, stolen=4.0), 4).reasons) == 1


def test_a_machine_that_tells_nothing_can_be_valid() -> None:
    silent = State(None, None, None, None, None, 1.0, 1.0, 0.0, 1.0)
    assert judge([silent, after(silent)], 2) == Verdict(VALID)


def test_runs_that_agree_keep_the_sessions_verdict() -> None:
    for of_all in (Verdict(VALID), Verdict(UNSTABLE, ("noise",)), Verdict(INVALID, ("heat",))):
        assert judge_runs(of_all, CALM, [1500.0, 1500.0]) == of_all


@pytest.mark.parametrize(
    ("medians", "clocks", "words"),
    [
        ([100.0, 112.0, 101.0], [], "runs of the same file differ by 12% (limit 10%)"),
        ([100.0], [], "1 run tells nothing of the spread; ask for --runs 5"),
        (CALM, [600.0, 1500.0], "the clock moved between 600 and 1500 MHz"),
    ],
)
def test_what_makes_one_file_unstable(medians: list[float], clocks: list[float], words: str) -> None:
    assert judge_runs(Verdict(VALID), medians, clocks) == Verdict(UNSTABLE, (words,))
    assert judge_runs(Verdict(UNSTABLE, ("noise",)), medians, clocks).reasons == ("noise", words)
    assert judge_runs(Verdict(INVALID, ("heat",)), medians, clocks) == Verdict(INVALID, ("heat", words))
