"""The table of an emulated CPU: instructions and comparisons, and never a time."""

from __future__ import annotations

import csv
import dataclasses
import io
import re

from edgecnn.measure.machine import Machine
from edgecnn.measure.measurement import Case, Emulation, Energy, Measurement, Session, Settings
from edgecnn.measure.trust import VALID, Verdict
from edgecnn.report.bench import csv_text, text
from edgecnn.report.emulated import operations_text
from edgecnn.runtime.manifest import Accuracy
from tests.measure.scripted import QUIET, after

MACHINE = Machine(None, "Cortex-A72", "aarch64", 1, (), False, "Debian 12 in qemu", "6.1", "3.11.2", None, True)


def row(recipe: str, instructions: tuple[int, ...], difference: float, failure: str | None = None) -> Measurement:
    case = Case(f"b/net_{recipe}.tflite", "b", 1234, "0" * 64, "net", recipe, "litert", 1, 1, None)
    emulation = None if failure else Emulation("Cortex-A72", instructions, 1000, difference)
    energy = Energy(None, None, False, "emulated")
    return Measurement(
        case, "litert 2.1.6", failure, (), Accuracy(740, 1000), energy, Verdict(VALID), emulation=emulation
    )


def session(*rows: Measurement) -> Session:
    verdict = Verdict(VALID, ("emulated: no time was measured",))
    return Session("0.1.0", "2026-01-31T12:00:00Z", MACHINE, Settings(), (QUIET, after()), verdict, rows)


FLOAT = row("float32", (1_000_000, 1_001_000, 1_000_000), 3.8e-6)
INT8 = row("static_w8a8", (400_000, 400_000, 400_000), 0.0)


def test_steps_of_an_integer_output_are_named() -> None:
    assert "within 2 steps on 1,000 images" in text(session(row("static_w8a8", (400_000,), 2.0)))


def cells(line: str) -> list[str]:
    return re.split(r"  +", line)


def test_a_row_has_instructions_in_place_of_a_latency() -> None:
    lines = text(session(FLOAT, INT8)).splitlines()
    assert cells(lines[3]) == [
        "b/net_static_w8a8.tflite", "static_w8a8", "1,234", "74.00 % of 1000", "71.19 to 76.62", "emulated", "400,000",
        "0.00%", "0.40", "identical on 1,000 images",
    ]  # fmt: skip
    assert cells(lines[2])[5:] == ["emulated", "1,000,000", "0.10%", "1.00", "within 4e-06 on 1,000 images"]


def test_no_unit_of_time_is_printed() -> None:
    shown = text(session(FLOAT, INT8))
    assert not re.search(r"\b(us|ns|ms|µs|p50|p99|images/s|MHz|governor|cold start)\b", shown)
    assert "verdict valid\n        emulated: no time was measured" in shown


def test_a_failed_check_has_its_reason_and_no_row() -> None:
    shown = text(session(FLOAT, row("static_w8a8", (), 3.0, "gives other outputs"))).splitlines()
    assert "FAILED b/net_static_w8a8.tflite: gives other outputs" in shown
    assert not [line for line in shown if line.startswith("b/net_static")]


def test_nothing_but_failures_still_has_the_machine_and_the_verdict() -> None:
    shown = text(session(row("static_w8a8", (), 3.0, "gives other outputs")))
    assert shown.startswith("FAILED") and "machine emulated Cortex-A72, aarch64 (no int8 dot product)" in shown


def test_a_bare_file_has_no_ratio() -> None:
    bare = dataclasses.replace(INT8, case=dataclasses.replace(INT8.case, bundle=None), accuracy=None)
    line = text(session(bare)).splitlines()[2]
    assert cells(line)[3:5] == ["not scored", "-"]
    assert cells(line)[8] == "-"


def test_csv_has_the_counts_and_empty_times() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(session(FLOAT, INT8)))))
    line = lines[1]
    assert (line["emulated_cpu"], line["instructions"], line["largest_difference"]) == ("Cortex-A72", "400000", "0.0")
    assert {line[name] for name in ("p50", "mean", "cold_start", "memory_bytes", "images_per_second")} == {""}


def test_operations_have_shares_of_the_whole() -> None:
    lines = operations_text(
        "net.tflite", "Cortex-A72", 100, [("CONV_2D", "int8 1x4", 800), ("ADD", "", 100)]
    ).splitlines()
    assert cells(lines[5].strip()) == ["1", "CONV_2D", "int8 1x4", "800", "80.0%"]
    assert cells(lines[7].strip()) == ["-", "the whole file", "1,000", "100.0%"]
