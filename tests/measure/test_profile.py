"""The order of a profile and what becomes of its parts, with scripted workers; and one real file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import BadFileError, CheckFailedError, UsageError
from edgecnn.measure.bench import Surroundings
from edgecnn.measure.machine import State
from edgecnn.measure.measurement import Case
from edgecnn.measure.profile import profile
from edgecnn.measure.slicing import Slices
from edgecnn.measure.worker import Worker
from tests import tiny_artifacts, tiny_graphs
from tests.measure.scripted import QUIET, after, case, quiet, surroundings

NAMES = ("CONV_2D", "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED")
FACTS = [
    {
        "name": name, "shape": [1, 3], "dtype": "int8", "module": None, "macs": None, "inside": True, "alike": True,
    }
    for name in NAMES
]  # fmt: skip

# Nanoseconds of a call: each operation costs ten times the one before, and the call itself 500.
TIMES = {("empty", 0): 500, ("whole", 0): 12_000} | {
    (part, number): 500 + taken
    for part, sizes in (("prefix", (10, 110, 1110, 11_110)), ("alone", (10, 100, 1000, 10_000)))
    for number, taken in enumerate(sizes, 1)
}  # fmt: skip


class SlicingWorker(Worker):
    """Answers with TIMES, changed by ``change``; a slice in ``fails`` ends it."""

    def __init__(self, fails: tuple[tuple[str, int], ...], change: Callable[[float], float]) -> None:
        self.fails, self.change = fails, change
        self.asked: list[tuple[str, int]] = []
        self.others: list[dict[str, Any]] = []
        self.ended = False
        self.closed = False

    def ask(self, request: dict[str, Any], patience: float, poll: object = None) -> dict[str, Any]:
        assert not self.ended and not self.closed
        if request["do"] != "slice":
            self.others.append(request)
            facts = {"engine": "engine 1", "partitions": 1, "operations": FACTS}
            return json.loads(json.dumps(facts)) if request["do"] == "dissect" else {}
        which = (request["part"], request["count"])
        self.asked.append(which)
        if which in self.fails:
            self.ended = True
            raise CheckFailedError("was killed by SIGSEGV")
        return {"call": self.change(TIMES[which]), "clocks_mhz": [1500.0]}

    def close(self) -> None:
        self.closed = True

    def __exit__(self, *exception: object) -> None:
        self.close()


class Workers:
    """Starts scripted workers; ``changes`` yields what befalls the times of each next one."""

    def __init__(self, *fails: tuple[str, int], changes: Iterator[Callable[[float], float]] | None = None) -> None:
        self.fails, self.changes = fails, changes
        self.started: list[SlicingWorker] = []

    def __call__(self, _case: Case) -> SlicingWorker:
        change = next(self.changes) if self.changes else lambda nanoseconds: nanoseconds
        self.started.append(SlicingWorker(self.fails, change))
        return self.started[-1]


@pytest.fixture
def sliced(tmp_path: Path) -> Case:
    path = tmp_path / "a.tflite"
    path.write_bytes(tiny_graphs.classifier(quantized=True))
    return case(str(path))


def around(workers: Workers, states: Iterator[State] | None = None) -> Surroundings:
    return surroundings(workers, states or quiet())


def test_costs_are_what_each_operation_adds(sliced: Case) -> None:
    found = profile(sliced, surroundings=around(Workers()))
    assert [operation.name for operation in found.operations] == list(NAMES)
    assert [cost.middle for cost in found.costs()] == pytest.approx([0.01, 0.1, 1.0, 10.0])
    assert [cost and cost.middle for cost in found.costs_alone()] == pytest.approx([0.01, 0.1, 1.0, 10.0])
    assert (found.cost_of_call().middle, found.cost_of_whole().middle) == (0.5, 12.0)
    assert found.verdict.level == "valid"
    assert all(cost.told for cost in found.costs())


def test_every_run_is_a_process_that_goes_up_and_down_again(sliced: Case) -> None:
    workers, told = Workers(), list[str]()
    profile(sliced, 2, surroundings=around(workers), say=told.append)
    assert told == ["run 1 of 2", "run 2 of 2"]
    one, two = workers.started
    half = len(one.asked) // 2
    assert one.asked[:half] == [
        ("empty", 0), ("prefix", 1), ("alone", 1), ("prefix", 2), ("alone", 2), ("prefix", 3), ("alone", 3),
        ("prefix", 4), ("alone", 4), ("whole", 0),
    ]  # fmt: skip
    assert one.asked[half:] == one.asked[:half][::-1]
    assert one.asked == two.asked and one.closed and two.closed
    assert [request["do"] for request in one.others] == ["cut"]
    assert two.others[-1]["do"] == "dissect"


def test_a_steady_drift_cancels(sliced: Case) -> None:
    ticks = count()
    workers = Workers(changes=iter([lambda nanoseconds: nanoseconds + 100 * next(ticks)] * 5))
    assert [cost.middle for cost in profile(sliced, surroundings=around(workers)).costs()] == pytest.approx(
        [0.01, 0.1, 1.0, 10.0]
    )


def test_what_noise_hides_is_not_told_and_has_an_interval(sliced: Case) -> None:
    swings = iter([-300, 300, -200, 200, 0, 100, -100] * 20)

    def noisy(nanoseconds: float) -> float:
        return nanoseconds + next(swings)

    found = profile(sliced, surroundings=around(Workers(changes=iter([noisy] * 5))))
    first, *_, last = found.costs()
    assert not first.told and first.low < 0 < first.high
    assert last.told and last.low <= last.middle <= last.high


def test_costs_are_per_image(sliced: Case) -> None:
    found = profile(dataclasses.replace(sliced, batch=4), surroundings=around(Workers()))
    assert found.costs()[-1].middle == pytest.approx(2.5)


def test_an_operation_that_dies_alone_keeps_the_reason_and_is_not_tried_again(sliced: Case) -> None:
    workers = Workers(("alone", 3))
    found = profile(sliced, 3, surroundings=around(workers))
    assert [operation.failure for operation in found.operations] == [None, None, "was killed by SIGSEGV", None]
    assert found.costs_alone()[2] is None
    assert [cost.middle for cost in found.costs()] == pytest.approx([0.01, 0.1, 1.0, 10.0])
    assert sum(worker.asked.count(("alone", 3)) for worker in workers.started) == 1
    assert len(workers.started) == 4
    assert all(worker.closed for worker in workers.started)
    assert [len(operation.prefix) for operation in found.operations] == [3] * 4


@pytest.mark.parametrize(
    ("slice", "reason"), [(("prefix", 2), "cut after operation 2 it was killed"), (("whole", 0), "tflite was killed")]
)
def test_a_file_that_cannot_be_run_is_a_failure(sliced: Case, slice: tuple[str, int], reason: str) -> None:
    workers = Workers(slice)
    with pytest.raises(CheckFailedError, match=reason):
        profile(sliced, surroundings=around(workers))
    assert workers.started[-1].closed


def test_throttling_makes_it_invalid(sliced: Case) -> None:
    assert profile(sliced, 1, surroundings=around(Workers(), iter([QUIET, after(throttled=0x4)]))).invalid


def test_the_document_has_costs_and_shares(sliced: Case) -> None:
    document = json.loads(json.dumps(profile(sliced, surroundings=around(Workers())).document(), allow_nan=False))
    assert document["schema"] == 2
    assert document["cost"]["whole"] == {"middle": 12.0, "low": 12.0, "high": 12.0}
    last = document["operations"][-1]
    assert last["cost"]["middle"] == pytest.approx(10) and last["share"] == pytest.approx(10 / 12)
    assert last["prefix"] == [11_610] * 5


def test_what_cannot_be_profiled_is_refused(sliced: Case, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no .tflite file"):
        profile(case("a.onnx"), surroundings=around(Workers()))
    with pytest.raises(UsageError, match="--pin 999 names a CPU"):
        profile(sliced, pin=(999,), surroundings=around(Workers()))
    (tmp_path / "bad.tflite").write_bytes(b"damage" * 40)
    with pytest.raises(BadFileError, match="not a TFLite file"):
        profile(case(str(tmp_path / "bad.tflite")), surroundings=around(Workers()))


def test_a_file_that_the_verifier_refuses_is_not_run(tmp_path: Path) -> None:
    path, workers = tmp_path / "a.tflite", Workers()
    path.write_bytes(tiny_graphs.skip_connection())
    with pytest.raises(BadFileError, match="SIGN: it is none of the"):
        profile(case(str(path)), surroundings=around(workers))
    assert not workers.started
    with pytest.raises(BadFileError, match="SIGN: it is none of the"):
        Slices(path, threads=1)


def test_a_file_for_one_image_has_no_batch(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), batch=1)
    with pytest.raises(UsageError, match="takes one image at a time, so --batch must be 1, not 2"):
        profile(case(str(path), batch=2), surroundings=around(Workers()))


def test_a_real_file_in_real_processes(sliced: Case) -> None:
    real = dataclasses.replace(sliced, batch=2)
    found = profile(real, 2, surroundings=Surroundings(machine=around(Workers()).machine, state=lambda: QUIET))
    assert [(each.name, each.inside, each.alike) for each in found.operations] == [
        ("CONV_2D", True, True), ("AVERAGE_POOL_2D", False, True), ("RESHAPE", True, True),
        ("FULLY_CONNECTED", True, True),
    ]  # fmt: skip
    assert (found.partitions, found.operations[0].module, found.operations[1].module) == (2, "conv1", "pool1")
    assert found.operations[0].shape == (1, 6, 6, 4)
    assert [each.macs for each in found.operations] == [6 * 6 * 4 * 27, None, None, 3 * 36]
    assert found.engine.startswith(("litert ", "tflite-runtime "))
    assert all(len(each.prefix) == len(each.alone) == 2 for each in found.operations)
    assert 0 < found.cost_of_call().middle < found.cost_of_whole().middle
