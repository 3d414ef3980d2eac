"""A session as text and as CSV: every figure, every doubt, and INVALID where nobody can miss it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from edgecnn.measure.bench import bench
from edgecnn.measure.energy import Meter
from edgecnn.measure.machine import State
from edgecnn.measure.measurement import Case, Session, Settings
from edgecnn.report.bench import csv_text, text
from tests.measure.scripted import QUIET, ScriptedWorker, after, case, quiet, surroundings
from tests.measure.test_bench import FakeMeter


def worker(which: Case) -> ScriptedWorker:
    made = ScriptedWorker(1234.5 if which.file == "slow.tflite" else 98.7, (), "open" if which.file == "bad" else "")
    if which.file == "path/fast.tflite":
        made.graph = {"operations": ["CONV_2D", "SIGN"], "outside": ["SIGN"], "partitions": 2, "arena_bytes": 48_080}
        made.floor = 9
    return made


def session(states: Iterator[State] | None = None, meter: Meter | str = "no meter here", **settings: Any) -> Session:
    cases = [case("path/fast.tflite", "some/bundle"), case("slow.tflite"), case("bad")]
    return bench(cases, Settings(**settings), surroundings(worker, states or quiet(), meter))


def throttled() -> Iterator[State]:
    state = QUIET
    while True:
        yield state
        state = after(state, throttled=0x10001)


def test_the_table_has_every_figure() -> None:
    shown = text(session())
    fast, slow = (line.split() for line in shown.splitlines()[2:4])
    assert fast[:2] == ["bundle/fast.tflite", "static_w8a8"]
    assert " ".join(fast[2:]) == (
        "engine 1 1 1 1,234 90.00 % of 10 59.58 to 98.21 98.7 98.7 to 98.7 98.7 274.4 98.7 115.2 0.0% 8,684 valid"
    )
    assert slow[0] == "slow.tflite"
    assert "not scored - 1,234 1,234 to 1,234 1,234 3,432 1,234 1,440 0.0% 694 valid" in " ".join(slow)
    costs = "bundle/fast.tflite engine 1 6.5 1.0 2.0 3.0 0.5 2.0 48.1 unavailable"
    assert costs in [" ".join(line.split()) for line in shown.splitlines()]
    assert "slow.tflite engine 1 6.5 1.0 2.0 3.0 0.5 2.0 - unavailable" in " ".join(shown.split())
    assert "arena   what the tensors between operations need without the delegate" in shown
    assert "FAILED bad in litert: was killed by SIGILL" in shown
    assert "median of 5 runs, each a new process" in shown
    assert "the timing loop's own 50 ns a call" in shown
    assert "energy  no meter here" in shown
    assert "machine Board 1, Cortex-A76, 4 CPUs (asimddp)" in shown
    assert "before  governor performance, 1500 MHz, 50 °C, throttle flags 0x0" in shown
    assert shown.endswith("verdict valid")


def test_an_invalid_session_says_so_first_in_every_row_and_last() -> None:
    bad = session(throttled())
    lines = text(bad).splitlines()
    assert lines[0] == "INVALID: under-voltage during the run. These figures are not to be used."
    assert [line.split()[-1] for line in lines if line.startswith(("bundle/fast", "slow"))][:2] == ["INVALID"] * 2
    assert lines[-2:] == ["verdict INVALID", "        under-voltage during the run"]
    assert {row["verdict"] for row in csv.DictReader(io.StringIO(csv_text(bad)))} == {"INVALID"}


def test_doubts_about_one_file_are_its_own() -> None:
    shown = text(session(runs=1))
    assert shown.count("1 run tells nothing of the spread") == 2
    assert "        slow.tflite in engine 1: 1 run tells nothing of the spread; ask for --runs 5" in shown
    assert "of p50: needs 5 runs" in shown


def test_an_estimate_of_energy_is_labelled() -> None:
    shown = text(session(meter=FakeMeter(1.0)))
    assert "2 (estimate)" in shown
    assert "energy  a fake" in shown


def test_nothing_but_failures() -> None:
    shown = text(bench([case("bad")], Settings(), surroundings(worker, quiet())))
    assert shown.startswith("FAILED bad in litert: was killed by SIGILL\nmachine ")


def test_csv_has_a_line_for_every_row_and_the_same_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(session(meter=FakeMeter(1.0))))))
    fast, slow, bad = rows
    assert (fast["file"], fast["p50"], fast["p50_low"], fast["accuracy"]) == ("path/fast.tflite", "98.7", "98.7", "0.9")
    graph = ("arena_bytes", "operations", "outside_delegate", "partitions", "floor_nanoseconds")
    assert [fast[name] for name in graph] == ["48080", "2", "1", "2", "9"]
    assert [slow[name] for name in graph] == [""] * 5
    assert (fast["energy_joules"], fast["energy_is_estimate"], fast["failure"]) == ("0.002", "True", "")
    assert (slow["accuracy"], slow["images"], slow["recipe"]) == ("", "", "static_w8a8")
    assert (bad["failure"], bad["p50"], bad["energy_is_estimate"]) == ("was killed by SIGILL", "", "")
    assert None not in bad and None not in bad.values()
