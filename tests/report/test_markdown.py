"""Markdown: GitHub's tables hold, and what a file says stays text."""

from __future__ import annotations

import re

import pytest

from edgecnn.report.markdown import code, markdown
from tests.report.samples import (
    EMULATED,
    HOSTILE,
    OTHER,
    THROTTLED,
    emulated,
    five,
    invalid,
    profile,
    row,
    sections_of,
    session,
)  # fmt: skip


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] if line.startswith("|") else None for line in text.splitlines()]
    found: list[list[list[str]]] = [[]]
    for line in lines:
        found[-1].append([cell.strip() for cell in line]) if line else found.append([])
    return [each for each in found if each]


def test_a_table_has_every_row_and_as_many_cells_as_headings() -> None:
    (table,) = tables(markdown(sections_of(session(five())), "Report"))
    assert len(table) == 2 + 10
    assert len({len(line) for line in table}) == 1
    assert table[0][:5] == ["file", "recipe", "verdict", "front", "runtime, threads, batch"]
    assert table[1][:4] == ["---"] * 4 and set(table[1][5:]) == {"---:"}
    assert table[3][:4] == ["`lenet/lenet_static_w8a8.tflite`", "`static_w8a8`", "valid", "★ latency, bytes"]
    assert table[3][5:7] == ["77,167", "73.80 % (71.0 to 76.4, 1,000 images)"]


def test_the_verdict_and_the_machine_are_told() -> None:
    text = markdown(sections_of(session([row()]), invalid([row()], machine=OTHER)), "Report")
    assert text.startswith("# Report\n\n## `Board 1, Cortex-A76`\n\n**Valid.** ")
    assert "**INVALID.** These figures are not to be used.\n\n- `under-voltage during the run`" in text
    assert [table[2][2] for table in tables(text)] == ["valid", "**INVALID**"]
    assert "- energy: `unavailable: no meter here`" in text and "kernel `6.12`" in text


def test_an_emulated_machine_has_no_time() -> None:
    text = markdown(sections_of(session([emulated("lenet", 1_230_000)], EMULATED)), "Report")
    assert "emulated" in text and "1.23 M" in text
    assert not re.search(r"\d (µs|ms|s|ns)\b", text)


def test_a_profile_is_a_table_of_its_own() -> None:
    text = markdown(sections_of(profile(verdict=THROTTLED)), "Report")
    (table,) = tables(text)
    assert "**INVALID** Operations of `lenet/lenet.tflite` in `litert 1.0`:" in text
    assert table[0] == ["#", "operation", "where", "time", "95 %", "share"]
    assert table[3] == ["1", "`CONV_2D conv1`", "inside", "12.0 µs", "11.8 to 12.5 µs", "60.0 %"]
    assert [line[1] for line in table[2:]] == [
        "`the call itself`", "`CONV_2D conv1`", "`RESHAPE conv1`", "`AVERAGE_POOL_2D conv1`", "`the whole file`",
    ]  # fmt: skip


def test_hostile_names_stay_in_their_cells() -> None:
    rows = [row(HOSTILE, HOSTILE, engine=HOSTILE), row(runs=0, failure=f"{HOSTILE}\n# heading")]
    text = markdown(sections_of(session(rows), session([row()])), "Report")
    (table,) = tables(text)
    assert len({len(line) for line in table}) == 1
    outside = re.sub(r"(`+) ?.+? ?\1(?!`)", "", text)
    assert "<script>" not in outside and "@someone" not in outside
    assert "\n# heading" not in text
    text.encode()


@pytest.mark.parametrize(
    ("text", "span"),
    [("a", "`a`"), ("a|b", "`a\\|b`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("a\nb", "`a b`"), ("", "` `")],
)
def test_code(text: str, span: str) -> None:
    assert code(text) == span
