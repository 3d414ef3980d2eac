"""Sustained runs as lines of characters."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.measure.bench import bench
from edgecnn.measure.measurement import Measurement, Settings
from edgecnn.report.bench import text
from edgecnn.report.sustained import ASCII, BLOCKS, WIDTH, plots
from tests.measure.scripted import ScriptedWorker, case, quiet, surroundings
from tests.measure.test_sustained import Bench, answers


def measured(times: Sequence[float], batch: int = 1, **changes: list) -> Measurement:
    """A measurement with a window a second of these nanoseconds a call."""
    worker = surroundings(lambda _case: ScriptedWorker(100.0, windows=answers(times, **changes)), quiet())
    session = bench([case(batch=batch)], Settings(runs=1, sustained=float(len(times))), worker)
    return session.measurements[0]


def curve(row: Measurement, characters: str = BLOCKS) -> str:
    return plots([("a", row)], characters)[1].split()[0]


def test_time_runs_to_the_right_and_slower_is_higher() -> None:
    assert curve(measured([100_000, 110_000, 200_000, 150_000])) == "▁▁█▅"
    assert curve(measured([100_000, 110_000, 200_000, 150_000]), ASCII) == "__@+"


def test_noise_does_not_look_like_hills() -> None:
    assert curve(measured([100_000, 101_000, 100_500, 102_000])) == "▁▁▁▁"


def test_a_long_run_is_one_line_of_medians() -> None:
    drawn = curve(measured([*[100_000] * 300, *[200_000] * 300]))
    assert drawn == "▁" * (WIDTH // 2) + "█" * (WIDTH // 2)


def test_the_line_says_what_is_not_in_the_curve() -> None:
    celsius = [50.0, 70.0, 60.0]
    row = measured([100_000, 130_000, 120_000], celsius=celsius, mhz=[1800.0, 1500.0, 600.0], throttled=[0, 4, 0])
    assert plots([("a.tflite in engine 1", row)])[1] == (
        "  ▁█▆  a.tflite in engine 1: 100.0 to 130.0 us, 3 s, 50 to 70 °C, 600 to 1800 MHz, throttled from 2 s"
    )
    silent = measured([100_000, 130_000], celsius=[None] * 2, mhz=[None] * 2, throttled=[None] * 2)
    assert plots([("a", silent)])[1] == "  ▁█  a: 100.0 to 130.0 us, 2 s"


def test_times_are_per_image() -> None:
    assert ": 25.0 to 32.5 us," in plots([("a", measured([100_000, 130_000], batch=4))])[1]


def test_the_table_has_a_line_for_each_file_or_no_word_of_it() -> None:
    lines = text(Bench(answers([100_000] * 25)).session, ASCII).splitlines()
    place = lines.index("sustained, time per image: _ fastest, @ slowest, or 20% above")
    assert [line.split()[1] for line in lines[place + 1 : place + 3]] == ["a", "b"]
    assert "sustained" not in text(Bench([], sustained=0.0).session)
