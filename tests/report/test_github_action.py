"""Figures for github-action-benchmark: its schema, and doubt that cannot be overlooked."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from edgecnn.measure.measurement import Emulation, Session
from edgecnn.report.github_action import github_action
from tests.report.test_bench import session, throttled

NAME = "bundle/fast.tflite/litert/batch:1/threads:1"


def entries(shown: Session) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(github_action(shown))}


def test_each_figure_has_the_fields_of_the_schema() -> None:
    listed = json.loads(github_action(session()))
    assert len({each["name"] for each in listed}) == len(listed) > 0
    for each in listed:
        assert set(each) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(each["name"], str) and isinstance(each["unit"], str) and isinstance(each["extra"], str)
        assert isinstance(each["value"], int | float)
        assert re.fullmatch(r"± \d+\.\d\d", each.get("range", "± 0.00"))


def test_smaller_is_better_for_all_of_them() -> None:
    known = entries(session())
    assert (known[f"{NAME} p50"]["value"], known[f"{NAME} p50"]["unit"]) == (98.7, "us/image")
    assert known[f"{NAME} p50"]["range"] == "± 0.00"
    assert known[f"{NAME} size"]["value"] == 1234
    assert known[f"{NAME} memory"]["value"] == 2_000_000
    wrong = known[f"{NAME} wrong images"]
    assert (wrong["value"], wrong["unit"]) == (pytest.approx(10.0), "%")
    assert wrong["range"] == "± 30.42"  # Wilson: 1.79 to 40.42 % of 10 images
    assert "slow.tflite/litert/batch:1/threads:1 wrong images" not in known


def test_few_runs_have_no_range() -> None:
    assert "range" not in entries(session(runs=2))[f"{NAME} p50"]


def test_invalid_is_in_the_name_and_first_in_the_tooltip() -> None:
    listed = json.loads(github_action(session(throttled())))
    fast = [each for each in listed if "fast" in each["name"]]
    assert fast
    for each in fast:
        assert "threads:1 INVALID " in each["name"]
        assert each["extra"].startswith("INVALID: under-voltage during the run\n")


def test_unstable_and_failed_are_first_in_the_tooltip() -> None:
    known = entries(session(runs=1))
    assert known[f"{NAME} p50"]["extra"].startswith("unstable: 1 run tells nothing of the spread")
    bad = known["bad/litert/batch:1/threads:1 size"]
    assert bad["extra"].startswith("FAILED: was killed by SIGILL\n")
    assert not [name for name in known if name.startswith("bad/") and not name.endswith(" size")]


@pytest.mark.parametrize("instructions", [(1000, 990, 1006), (1000, 990, 1006, 1002)])
def test_an_emulated_machine_has_instructions_and_no_time(instructions: tuple[int, ...]) -> None:
    shown = session()
    counts = Emulation("cortex-a72", instructions, 10, 0)
    row = dataclasses.replace(shown.measurements[0], runs=(), emulation=counts)
    known = entries(dataclasses.replace(shown, measurements=(row,)))
    counted = known[f"{NAME} instructions"]
    assert (counted["value"], counted["unit"], counted["range"]) == (1000, "instructions/image", "± 8.00")
    assert f"{NAME} p50" not in known
