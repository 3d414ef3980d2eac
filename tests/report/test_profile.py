"""A profile in words: costs, what is not sure, what does not add up, and INVALID where nobody can miss it."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgecnn.measure.dissection import Operation, Profile
from edgecnn.measure.trust import Verdict
from edgecnn.report.profile import text
from tests.measure.scripted import MACHINE, QUIET, after, case

CONV = Operation("CONV_2D", (1, 8, 8, 4), "int8", "conv1", 27_648, True, True, (2500.0,) * 5, (2600.0,) * 5, None)
POOL = Operation(
    "AVERAGE_POOL_2D", (1, 4, 4, 4), "int8", None, None, False, True, (6500.0,) * 5, (4400.0,) * 5, None
)  # fmt: skip
CALL, WHOLE = (500.0,) * 5, (6600.0,) * 5


def profile(*operations: Operation, **changes: Any) -> Profile:
    fields: dict[str, Any] = {
        "edgecnn": "0.1", "created": "2026-01-01T00:00:00Z", "machine": MACHINE, "engine": "engine 1", "pin": (),
        "case": case("folder/a.tflite", "some/bundle"), "states": (QUIET, after()), "verdict": Verdict("valid"),
        "partitions": 2, "whole": WHOLE, "empty": CALL, "operations": operations or (CONV, POOL),
    }  # fmt: skip
    return Profile(**fields | changes)


def shown(found: Profile) -> list[str]:
    return [" ".join(line.split()) for line in text(found).splitlines()]


def test_every_operation_has_its_line() -> None:
    lines = shown(profile())
    assert lines[0] == "bundle/a.tflite in engine 1, 1 thread, batch 1"
    assert "- (the call itself) 0.50 0.50 to 0.50 7.6%" in lines
    assert "1 CONV_2D int8 1x8x8x4 conv1 inside 27.6 2.00 2.00 to 2.00 30.3% 2.10" in lines
    assert "2 AVERAGE_POOL_2D int8 1x4x4x4 outside 4.00 4.00 to 4.00 60.6% 3.90" in lines
    assert "- the whole file 2 partitions 27.6 6.60 6.60 to 6.60 100.0%" in lines
    assert "sum the costs add up to 6.50 us, -1.5% against the whole file's 6.60 us" in lines
    assert "sum alone they add up to 6.50 us, -1.5% against the whole file's 6.60 us" in lines
    assert lines[-1] == "verdict valid"


def test_a_cost_that_may_be_nothing_only_has_a_limit() -> None:
    unsure = dataclasses.replace(POOL, prefix=(2400.0, 2450.0, 2550.0, 2600.0, 2700.0))
    (line,) = [each for each in shown(profile(CONV, unsure)) if "AVERAGE" in each]
    assert "outside < 0.20 -0.10 to 0.20 < 3.0%" in line


def test_a_longer_model_that_is_faster_is_shown_as_such() -> None:
    (line,) = [each for each in shown(profile(CONV, dataclasses.replace(POOL, prefix=(2000.0,) * 5))) if "AVER" in each]
    assert "outside -0.50 -0.50 to -0.50 -7.6%" in line


def test_a_sum_that_is_off_is_doubted() -> None:
    slow = dataclasses.replace(POOL, alone=(9000.0,) * 5)
    lines = shown(profile(CONV, slow, whole=(8000.0,) * 5))
    doubt = "more than 10% off, so operations cost something else among the others than here"
    assert f"sum the costs add up to 6.50 us, -18.8% against the whole file's 8.00 us: {doubt}" in lines
    assert f"sum alone they add up to 11.10 us, +38.7% against the whole file's 8.00 us: {doubt}" in lines


def test_what_cannot_run_alone_has_its_reason_and_no_sum() -> None:
    broken = dataclasses.replace(POOL, alone=(), failure="was killed by SIGSEGV")
    lines = shown(profile(CONV, broken))
    assert "- AVERAGE_POOL_2D alone: was killed by SIGSEGV" in lines
    assert any(line.endswith("60.6% -") for line in lines)
    assert not any("alone they add up" in line for line in lines)


def test_a_prefix_that_is_delegated_otherwise_is_marked() -> None:
    lines = shown(profile(CONV, dataclasses.replace(POOL, alike=False)))
    assert any("outside * 4.00" in line for line in lines)
    assert "* the delegate takes other operations when the model ends here: 2" in lines


def test_a_pad_is_taken_with_the_convolution_after_it() -> None:
    pad = dataclasses.replace(CONV, name="PAD", macs=None)
    note = "fused XNNPACK makes a PAD and the convolution after it one: take 1 with the next"
    assert note in shown(profile(pad, CONV))
    assert note not in shown(profile(pad, POOL))
    assert note not in shown(profile(pad, dataclasses.replace(CONV, inside=False)))


def test_few_runs_say_that_they_are_few() -> None:
    few = [dataclasses.replace(each, prefix=each.prefix[:2], alone=each.alone[:2]) for each in (CONV, POOL)]
    lines = shown(profile(*few, whole=WHOLE[:2], empty=CALL[:2]))
    assert "95 % needs 5 runs; shown is the whole span" in lines


def test_invalid_comes_first_and_last() -> None:
    lines = shown(profile(verdict=Verdict("INVALID", ("throttled during the run",))))
    assert lines[0] == "INVALID: throttled during the run. These figures are not to be used."
    assert lines[-2:] == ["verdict INVALID", "throttled during the run"]
