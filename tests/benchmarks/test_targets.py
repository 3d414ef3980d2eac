"""The table of files made for a target, and what it must show of the committed results."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.targets import HEADERS, RESULTS, costs, main, text
from edgecnn.measure.costs import dearer, middle


def trial(recipe: str, cost: float, *passes: str, chosen: bool = False, runs: int = 9, **more: Any) -> dict[str, Any]:
    return {
        "recipe": recipe, "passes": list(passes), "float_layers": [], "bytes": 1000, "sha256": "0" * 64,
        "screened": [cost], "runs": [cost] * runs, "failure": None, "chosen": chosen,
    } | more  # fmt: skip


def row(kind: str, *trials: dict[str, Any]) -> dict[str, Any]:
    return {"model": "lenet", "target": "cortex-a72", "kind": kind, "trials": list(trials)}


def test_a_line_holds_the_four_files_and_their_ratios() -> None:
    known = row(
        "instructions",
        trial("static_w8a8", 800_000.0), trial("static_w8a8", 600_000.0, "flatten_order", runs=0),
        trial("static_w8a8", 700_000.0, "flatten_order", "quad_columns"),
        trial("static_w8a8", 400_000.0, "flatten_order", chosen=True, float_layers=["conv1"]),
        trial("float32", 500_000.0, chosen=True),
    )  # fmt: skip
    (line,) = text([known]).splitlines()[2:]
    assert " ".join(line.split()) == (
        "| `lenet` | cortex-a72 | 500 | 800 | 600 | 400 | 0.80 | 0.50 | 1,000 | flatten_order | conv1 |"
    )


def test_ratios_of_times_have_intervals() -> None:
    known = row(
        "time", trial("static_w8a8", 20.0, "flatten_order", chosen=True), trial("static_w8a8", 25.0),
        trial("float32", 40.0, chosen=True),
    )  # fmt: skip
    header, rule, line = text([known]).splitlines()
    assert line == (
        "| `lenet` | cortex-a72 | 40.0 | 25.0 | 20.0 | 20.0 | 0.50 (0.50 to 0.50) | 0.80 (0.80 to 0.80) | 1,000 | "
        "flatten_order | none |"
    )
    assert header.count("|") == rule.count("|") == line.count("|") == len(HEADERS) + 1


@pytest.mark.parametrize("known", RESULTS.rows(), ids=lambda row: f"{row['model']} {row['target']}")
def test_no_committed_choice_is_worse_than_the_plain_conversion_or_than_float32(known: dict[str, Any]) -> None:
    found = costs(known)
    for other in ("plain", "float32"):
        assert not dearer(known["kind"], found["chosen"], found[other]), (other, middle(found["chosen"]))


def test_a_target_without_a_place_in_the_table_is_refused_before_it_is_measured() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--measure", "--target", "cortex-a53"])
    assert refused.value.code == 2
