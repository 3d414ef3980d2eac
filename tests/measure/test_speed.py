"""The verdict on speed: every reason, each from one fact of a scripted bench, and none where nothing was found."""

from __future__ import annotations

import dataclasses
from itertools import count
from typing import Any

import pytest

from edgecnn.measure.bench import bench
from edgecnn.measure.measurement import Case, Graph, Session, Settings
from edgecnn.measure.speed import Speed, speeds
from tests.measure.scripted import ScriptedWorker, case, quiet, surroundings

LAYERS = ("CONV_2D", "RESHAPE", "FULLY_CONNECTED")
SOUND = Graph(LAYERS, (), 1, 1000)


def session(
    microseconds: float = 50.0,
    graph: Graph | None = SOUND,
    floor: int | None = 1000,
    features: tuple[str, ...] = ("avx512_vnni",),
    engine: str = "litert 2",
    recipe: str = "static_w8a8",
    runs: int = 5,
) -> Session:
    """A float32 file of 60 us a call and a quantized one beside it."""

    def worker(which: Case) -> ScriptedWorker:
        made = ScriptedWorker(60.0 if which.recipe == "float32" else microseconds)
        made.floor, made.graph = floor, None if graph is None else dataclasses.asdict(SOUND)
        if which.recipe != "float32" and graph is not None:
            made.graph = dataclasses.asdict(graph)
        return made

    cases = [dataclasses.replace(case(f"{name}.tflite", "b"), recipe=name) for name in ("float32", recipe)]
    found = bench(cases, Settings(runs=runs), surroundings(worker, quiet()))
    rows = tuple(dataclasses.replace(row, engine=engine) for row in found.measurements)
    return dataclasses.replace(found, measurements=rows, machine=dataclasses.replace(found.machine, features=features))


def only(session: Session) -> Speed:
    (speed,) = speeds(session)
    return speed


def test_a_fast_file_has_its_ratio_and_no_reasons_even_where_there_are_some() -> None:
    fast = only(session(30.0, features=(), graph=Graph(LAYERS, LAYERS, 3, 0)))
    assert (fast.quantized, fast.float32, fast.ratio, fast.fast) == (1, 0, 2.0, True)
    assert (fast.reasons, fast.checked) == ((), ())
    assert fast.interval == (2.0, 2.0)
    assert fast.p < 0.01
    assert only(session(60 / 1.31)).fast and not only(session(60 / 1.29)).fast


def test_nothing_found_says_what_was_looked_at() -> None:
    speed = only(session(engine="litert 2, AMX withheld"))
    assert not speed.fast and speed.reasons == ()
    assert speed.checked == (
        "the recipe", "int8 instructions", "operations outside the delegate", "transposes",
        "conversions between types", "partitions", "AMX", "the fixed cost of a call (2%)",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        ({"features": ("avx2", "amx_int8")}, "this CPU has no dot product of int8 (none of asimddp, i8mm, avx_vnni,"),
        (
            {"graph": Graph((*LAYERS, "AVERAGE_POOL_2D", "AVERAGE_POOL_2D"), ("AVERAGE_POOL_2D",) * 2, 1, 1)},
            "2 of 5 operations are outside the delegate: 2 AVERAGE_POOL_2D",
        ),
        ({"graph": Graph((*LAYERS, "TRANSPOSE"), (), 1, 1)}, "transposes among its 4 operations: 1 TRANSPOSE"),
        (
            {"graph": Graph(("QUANTIZE", *LAYERS, "DEQUANTIZE"), (), 1, 1)},
            "conversions between types among its 5 operations: 1 QUANTIZE, 1 DEQUANTIZE",
        ),
        ({"graph": Graph(LAYERS, (), 3, 1)}, "the delegate runs it in 3 pieces, and every change between the two"),
        ({"engine": "litert 2, AMX allowed"}, "Intel AMX is in force, which slows small CNNs down; unset EDGECNN_AMX"),
        ({"recipe": "weight_w8"}, "weight_w8 computes in float: it makes the file smaller, not faster"),
        ({"recipe": "float16"}, "float16 computes in float"),
        ({"recipe": "dynamic_w8"}, "dynamic_w8 finds the ranges of every layer anew in each call"),
        (
            {"floor": 20_000},
            "it is too small to matter: 20.0 of 50.0 us a call (40%) compute nothing; "
            "what it computes is 1.33 times as fast",
        ),
        ({"floor": 55_000}, "it is too small to matter: 55.0 of 50.0 us a call (110%) compute nothing"),
    ],
)
def test_every_fact_gives_its_reason_and_no_other(fact: dict[str, Any], reason: str) -> None:
    (found,) = only(session(**fact)).reasons
    assert found.startswith(reason)


def test_what_float32_shares_is_told() -> None:
    both = Graph((*LAYERS, "SIGN"), ("SIGN",), 1, 1)
    found = session(graph=both)
    plain, quantized = found.measurements
    shared = dataclasses.replace(found, measurements=(dataclasses.replace(plain, graph=both), quantized))
    (reason,) = only(shared).reasons
    assert reason == "1 of 4 operations are outside the delegate: 1 SIGN (as in the float32 file)"


def test_what_was_not_measured_is_not_said_to_have_been_checked() -> None:
    speed = only(session(graph=None, floor=None))
    assert (speed.reasons, speed.checked) == ((), ("the recipe", "int8 instructions"))


def test_a_difference_that_noise_could_make_has_a_large_p() -> None:
    times = count()

    def worker(which: Case) -> ScriptedWorker:
        return ScriptedWorker(50.0 + next(times) * 7 % 10)

    cases = [dataclasses.replace(case("a", "b"), recipe=name) for name in ("float32", "static_w8a8")]
    speed = only(bench(cases, Settings(runs=5), surroundings(worker, quiet())))
    assert speed.p > 0.05 and speed.interval is not None and speed.interval.low < 1 < speed.interval.high


def test_few_runs_have_no_interval() -> None:
    assert only(session(runs=2)).interval is None


def test_only_files_of_the_same_bundle_runtime_threads_and_batch_are_held_together() -> None:
    float32 = dataclasses.replace(case("f", "b"), recipe="float32")
    others = [
        dataclasses.replace(case("q", "b"), **change)
        for change in (
            {"bundle": "c"}, {"model": "other"}, {"runtime": "tflite-runtime"}, {"threads": 2}, {"batch": 8},
            {"recipe": None},
        )
    ]  # fmt: skip
    many = bench([float32, *others, case("q", "b")], Settings(), surroundings(lambda _: ScriptedWorker(9), quiet()))
    assert [(each.float32, each.quantized) for each in speeds(many)] == [(0, 7)]


def test_a_file_that_failed_is_left_out() -> None:
    cases = [dataclasses.replace(case(name, "b"), recipe=name) for name in ("float32", "static_w8a8")]
    around = surroundings(lambda which: ScriptedWorker(9, (), "open" if which.recipe == "float32" else ""), quiet())
    assert speeds(bench(cases, Settings(), around)) == []


@pytest.mark.parametrize("place", [0, 1], ids=["float32", "quantized"])
def test_a_file_that_failed_after_some_runs_has_no_verdict(place: int) -> None:
    found = session(30.0)
    rows = list(found.measurements)
    rows[place] = dataclasses.replace(rows[place], failure="was killed by SIGKILL")
    assert speeds(dataclasses.replace(found, measurements=tuple(rows))) == []
