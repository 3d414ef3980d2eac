"""A result file from a board that says anything but the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.deploy.ssh.result import read_result
from edgecnn.errors import BadFileError
from edgecnn.measure.bench import bench
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.measurement import Case, Settings
from tests import tiny_artifacts
from tests.measure.scripted import ScriptedWorker, quiet, surroundings

Forge = Callable[[str], str]


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order((tiny_artifacts.bundle(tmp_path / "b"),), ("litert",), settings=Settings(runs=2))


@pytest.fixture
def cases(order: Order) -> list[Case]:
    return find_cases(order)


@pytest.fixture
def result(order: Order, tmp_path: Path) -> Path:
    """What an honest board sends: the same files in folders of its own."""
    there = tiny_artifacts.bundle(tmp_path / "there")
    around = surroundings(lambda _case: ScriptedWorker(100.0), quiet())
    bench(find_cases(Order((there,), order.runtimes)), order.settings, around).save(tmp_path / "raw.json")
    return tmp_path / "raw.json"


def change(*path: str | int, to: object) -> Forge:
    """A change of one value in a result."""

    def changed(text: str) -> str:
        document = json.loads(text)
        place = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to
        return json.dumps(document)

    return changed


def test_an_honest_result_gets_the_paths_of_this_machine(result: Path, order: Order, cases: list[Case]) -> None:
    session = read_result(result, order, cases)
    assert [row.case for row in session.measurements] == cases


def test_a_failure_is_told_with_the_paths_of_this_machine(result: Path, order: Order, cases: list[Case]) -> None:
    there = Path(json.loads(result.read_text())["measurements"][0]["case"]["bundle"])
    failure = f"cannot read {there / 'labels.txt'}"
    result.write_text(change("measurements", 0, "failure", to=failure)(result.read_text()))
    session = read_result(result, order, cases)
    assert session.measurements[0].failure == f"cannot read {order.paths[0] / 'labels.txt'}"


def test_what_a_terminal_would_obey_is_taken_out(result: Path, order: Order, cases: list[Case]) -> None:
    result.write_text(change("machine", "cpu", to="a\x1b]0;owned\x07b\nc\u202e")(result.read_text()))
    assert read_result(result, order, cases).machine.cpu == "a?]0;owned?b c?"


HOSTILE: dict[str, tuple[Forge, str]] = {
    "not JSON": (lambda _text: "rm -rf", "is not valid JSON"),
    "cut short": (lambda text: text[: len(text) // 2], "is not valid JSON"),
    "nested beyond reading": (lambda _text: "[" * 100_000, "is not valid JSON"),
    "nested deep": (lambda _text: "[" * 600 + "]" * 600, "nested too deep|must be an object"),
    "not an object": (lambda _text: "7", "must be an object"),
    "a field more": (change("run_this", to="x"), "run_this is not a known field"),
    "a huge number": (
        change("measurements", 0, "runs", 0, "first", to=10**80),
        "must be a whole number of at most 64 bits",
    ),
    "another file": (change("measurements", 0, "case", "sha256", to="0" * 64), "a row is of 000000000000 in litert"),
    "another runtime": (change("measurements", 0, "case", "runtime", to="x"), "in x, not"),
    "other settings": (change("settings", "runs", to=7), "settings are"),
    "fewer runs": (change("measurements", 1, "runs", to=[]), "has neither runs nor a failure"),
    "more runs": (lambda text: twice(text, "measurements", 1, "runs"), "a row has 4 runs, not 2"),
    "no rows": (change("measurements", to=[]), "measurements is empty"),
    "more rows": (lambda text: twice(text, "measurements"), "it has 4 rows, not 2"),
    "no states": (change("states", to=[]), "states is empty"),
    "a level of its own": (change("verdict", "level", to="superb"), "level is 'superb', but must be one of"),
    "another edgecnn": (change("edgecnn", to="9.9"), "edgecnn is 9.9"),
    "an emulation": (change("machine", "emulated", to=True), "of an emulated machine"),
}


def twice(text: str, *path: str | int) -> str:
    """The result with a list in it there two times over."""
    place = json.loads(text)
    for step in path:
        place = place[step]
    return change(*path, to=place * 2)(text)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_forged_result_is_refused(case: str, result: Path, order: Order, cases: list[Case]) -> None:
    forge, reason = HOSTILE[case]
    result.write_text(forge(result.read_text()))
    with pytest.raises(BadFileError, match=reason):
        read_result(result, order, cases)
