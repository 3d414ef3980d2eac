"""Which measurement goes with which, and which differences keep two benches apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgecnn.measure.limits import METRICS
from edgecnn.measure.measurement import Settings
from edgecnn.measure.pairs import differences, pair
from tests.measure.benches import row, session
from tests.measure.scripted import QUIET

TIMED = {"latency"}


def test_rows_are_paired_by_what_they_are_and_not_by_their_order() -> None:
    one, two = row("a.tflite"), row("b.tflite")
    four = row("a.tflite", threads=4)
    pairing = pair(session(one, two), session(four, two, one))
    assert [(each.old, each.new) for each in pairing.pairs] == [(two, two), (one, one)]
    assert (pairing.missing, pairing.added) == ((), (four,))


def test_folders_tell_files_of_one_name_apart_and_may_be_called_otherwise() -> None:
    digits, cifar = (row(bundle=f"x/lenet-{data}") for data in ("digits", "cifar10"))
    moved = row(bundle="elsewhere/lenet-cifar10")
    pairing = pair(session(digits, cifar), session(moved, row(bundle="new-name")))
    assert [each.old for each in pairing.pairs] == [cifar, digits]


def test_the_same_file_twice_is_paired_in_order() -> None:
    rows = [row(times=(each,)) for each in (1.0, 2.0)]
    assert [(each.old, each.new) for each in pair(session(*rows), session(*rows)).pairs] == list(
        zip(rows, rows, strict=True)
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("threads", 2), ("batch", 8), ("runtime", "tflite-runtime"), ("model", "x"), ("recipe", "float32")],
)
def test_a_file_measured_otherwise_is_a_mistake_that_is_named(field: str, value: Any) -> None:
    old, new = session(row()), session(row(**{field: value}))
    pairing = pair(old, new)
    assert [each.mistake for each in pairing.pairs] == [field]
    obstacles, _ = differences(old, new, pairing.pairs, {"bytes"})
    before = getattr(old.measurements[0].case, field)
    assert obstacles == [f"{field} of a.tflite was {before!r} and is {value!r}"]


def test_other_files_are_not_paired() -> None:
    pairing = pair(session(row("a.tflite")), session(row("b.tflite")))
    assert not pairing.pairs and pairing.missing and pairing.added


MACHINE: dict[str, Any] = {
    "board": "Board 2", "cpu": "Cortex-A72", "architecture": "armv7l", "cores": 2, "features": (), "virtual": True,
    "python": "3.11.2", "emulated": True,
}  # fmt: skip


@pytest.mark.parametrize("field", MACHINE)
def test_another_machine_matters_to_what_it_decides_and_to_nothing_else(field: str) -> None:
    old, new = session(), session(**{field: MACHINE[field]})
    pairs = pair(old, new).pairs
    obstacles, remarks = differences(old, new, pairs, TIMED)
    assert [line.partition(" was ")[0] for line in obstacles] == [f"machine.{field}"] and not remarks
    obstacles, remarks = differences(old, new, pairs, {"accuracy", "bytes"})
    assert not obstacles and len(remarks) == 1
    counted, _ = differences(old, new, pairs, {"instructions"})
    assert bool(counted) == (field not in ("board", "cores", "virtual"))


def test_both_values_are_named() -> None:
    old, new = session(), session(cpu="Cortex-A72")
    assert differences(old, new, (), TIMED)[0] == ["machine.cpu was 'Cortex-A76' and is 'Cortex-A72'"]


@pytest.mark.parametrize("changes", [{"kernel": "6.13"}, {"system": "Debian 14"}])
def test_an_update_of_the_system_is_told_and_refuses_nothing(changes: dict[str, Any]) -> None:
    obstacles, remarks = differences(session(), session(**changes), (), set(METRICS))
    assert not obstacles and len(remarks) == 1


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (Settings(pin=(1,)), "settings.pin was 'none' and is '1'"),
        (Settings(cooldown=2), "settings.cooldown was 0.0 and is 2"),
        (Settings(min_seconds=2), "seconds in each run was 0.2 and is 0.4"),
    ],
)
def test_settings_that_change_times(settings: Settings, name: str) -> None:
    assert differences(session(), session(settings=settings), (), TIMED)[0] == [name]


def test_more_runs_of_the_same_length_are_the_same_way_to_measure() -> None:
    assert differences(session(), session(settings=Settings(runs=10, min_seconds=2)), (), TIMED) == ([], [])


def test_the_governor_matters() -> None:
    states = (dataclasses.replace(QUIET, governor="powersave"), QUIET)
    new = dataclasses.replace(session(), states=states)
    assert differences(session(), new, (), TIMED)[0] == ["governor was 'performance' and is 'powersave'"]


def test_engines_and_numbers_of_images_matter_to_some() -> None:
    old, new = session(row(right=(9, 10))), session(row(right=(90, 100), engine="engine 2"))
    pairs = pair(old, new).pairs
    assert differences(old, new, pairs, TIMED)[0] == ["engine was 'engine 1' and is 'engine 2'"]
    assert differences(old, new, pairs, {"accuracy"})[0] == ["accuracy.images was 10 and is 100"]
    assert differences(old, new, pairs, {"bytes"})[0] == []


def test_a_line_is_given_once() -> None:
    old = session(row("a.tflite"), row("b.tflite"))
    new = session(row("a.tflite", engine="engine 2"), row("b.tflite", engine="engine 2"))
    assert len(differences(old, new, pair(old, new).pairs, TIMED)[0]) == 1
