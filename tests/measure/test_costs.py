"""What a bench says of costs, and when two of them differ."""

from __future__ import annotations

import pytest

from edgecnn.errors import UntrustworthyError
from edgecnn.measure.costs import INSTRUCTIONS, TIME, Costs, costs_of, dearer, middle
from edgecnn.measure.trust import INVALID, UNSTABLE, Verdict
from tests.measure.benches import FAST, row, session

SLOWER = tuple(1.05 * value for value in FAST)


def test_times_come_from_the_runs_and_failures_stay_in_their_place() -> None:
    found = costs_of(session(row("a", FAST), row("b", failure="was killed"), row("c", SLOWER)))
    assert found == Costs(TIME, "Board 1", "engine 1", (FAST, "was killed", found.rows[2]))
    assert found.rows[2] == pytest.approx(SLOWER)


def test_an_emulated_bench_has_instructions() -> None:
    found = costs_of(session(row(instructions=(1000, 1002)), emulated=True, board=None, cpu="Cortex-A72"))
    assert (found.kind, found.cpu, found.rows) == (INSTRUCTIONS, "Cortex-A72", ((1000.0, 1002.0),))


def test_doubts_are_kept_once_and_an_invalid_bench_decides_nothing() -> None:
    busy = Verdict(UNSTABLE, ("other processes kept 1 CPU busy",))
    assert costs_of(session(row(verdict=busy), row(), verdict=busy)).doubts == busy.reasons
    with pytest.raises(UntrustworthyError, match="nothing was chosen, the figures are INVALID: it throttled"):
        costs_of(session(verdict=Verdict(INVALID, ("it throttled",))))


def test_a_time_is_dearer_beyond_a_per_cent_and_beyond_chance() -> None:
    assert dearer(TIME, SLOWER, FAST)
    assert not dearer(TIME, FAST, SLOWER)
    assert not dearer(TIME, tuple(1.005 * value for value in FAST), FAST)
    assert not dearer(TIME, (90.0, 95.0, 108.0, 109.0, 110.0), (89.0, 92.0, 101.0, 111.0, 112.0))


@pytest.mark.parametrize(("count", "is_dearer"), [(1000, False), (1001, False), (1003, True), (997, False)])
def test_instructions_are_dearer_beyond_what_repeats(count: int, is_dearer: bool) -> None:
    assert dearer(INSTRUCTIONS, (count, count, count + 50), (1000.0,)) == is_dearer


def test_the_middle_of_runs_is_their_median() -> None:
    assert middle((1.0, 9.0, 2.0)) == 2
