"""What is said of a bench while it runs, on a clock that the test sets."""

from __future__ import annotations

from edgecnn.measure.pace import Pace


class Clock:
    """Shows ``now``."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def pace(turns: int, later: float = 0.0) -> tuple[Pace, Clock, list[str]]:
    clock, told = Clock(), list[str]()
    return Pace(turns, later, told.append, clock), clock, told


def test_news_is_told_at_any_moment_and_all_else_now_and_then() -> None:
    bench, clock, told = pace(100)
    bench.tell("round 1", news=True)
    bench.tell("file 1")
    clock.now += 9.9
    bench.tell("file 2")
    clock.now += 0.1
    bench.tell("file 3")
    bench.tell("file 4")
    assert told == ["round 1", "file 3"]


def test_the_time_left_is_what_the_turns_took_so_far_and_what_comes_later() -> None:
    bench, clock, told = pace(10, 30.0)
    bench.tell("start", news=True)
    clock.now += 4.0
    bench.turn()
    bench.turn()
    bench.tell("early", news=True)
    clock.now += 396.0
    bench.tell("slower", news=True)
    assert told == ["start", "early, 46 s left", "slower, 27 min left"]


def test_a_short_time_left_is_not_worth_saying() -> None:
    bench, clock, told = pace(2)
    clock.now += 9.0
    bench.turn()
    bench.tell("nearly", news=True)
    assert told == ["nearly"]


def test_after_the_turns_only_what_comes_later_counts() -> None:
    bench, clock, told = pace(1, 600.0)
    clock.now += 50.0
    bench.turn()
    bench.tell("sustained", news=True)
    bench.later -= 500.0
    bench.tell("sustained", news=True)
    assert told == ["sustained, 10 min left", "sustained, 100 s left"]
