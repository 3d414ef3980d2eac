"""Every verdict of an emulated bench, without QEMU: what differs, what does not repeat, and what cannot be asked."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgecnn.deploy.emulated_arm.bench
from edgecnn.cli.main import main
from edgecnn.deploy.emulated_arm import device
from edgecnn.deploy.emulated_arm.bench import bench
from edgecnn.deploy.emulated_arm.cpus import ARM64, ARMHF
from edgecnn.deploy.emulated_arm.emulator import Emulator
from edgecnn.deploy.emulated_arm.operations import instructions_by_operation
from edgecnn.deploy.emulated_arm.verdict import check_counts, largest_difference
from edgecnn.errors import CheckFailedError
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.measurement import Session, Settings
from edgecnn.measure.worker import Worker
from edgecnn.runtime.manifest import Manifest
from tests import tiny_artifacts
from tests.deploy.emulated import Answers, Outputs, emulator, outputs
from tests.measure.scripted import QUIET
from tests.tiny_artifacts import INT8_FILE

SAME = [[1, 2, 3], [4, 5, 6]]
COUNT = {"count": {"instructions": 1000}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_artifacts.bundle(tmp_path / "b")


def run(path: Path, there: Answers, here: Answers, counts: Answers = COUNT, runs: int = 2) -> Session:
    order = Order((path,), settings=Settings(runs=runs))
    return bench("emulated:cortex-a72", order, lambda _line: None, emulator(there, here, counts))


def answers(values: Outputs = SAME, **others: Any) -> Answers:
    return {"outputs": outputs(values, **others)}


def test_a_file_that_gives_the_same_has_its_instructions_and_no_time(folder: Path) -> None:
    counts = {"count": [{"instructions": number} for number in (1000, 1004)]}
    session = run(folder / INT8_FILE, answers(), answers(engine="litert 2.3.0"), counts)
    (row,) = session.measurements
    assert row.emulation is not None
    assert sorted(row.emulation.instructions) == [1000, 1004]
    assert (row.failure, row.runs, row.engine) == (None, (), "litert 2.1.6")
    assert (row.emulation.images, row.emulation.largest_difference) == (2, 0.0)
    assert row.accuracy is not None and (row.accuracy.correct, row.accuracy.images) == (1, 2)
    machine = session.machine
    assert (machine.emulated, machine.cpu, machine.features) == (True, "Cortex-A72", ("asimddp",))
    assert session.verdict.level == "valid"
    assert "emulated" in session.verdict.reasons[0] and "no time" in session.verdict.reasons[0]
    assert "litert 2.3.0" in session.verdict.reasons[1]


def test_no_clock_or_heat_of_this_machine_is_said_of_the_emulated_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgecnn.deploy.emulated_arm.bench, "read_state", lambda: QUIET)
    states = run(folder / INT8_FILE, answers(), answers()).states
    assert {(state.governor, state.mhz, state.celsius, state.throttled) for state in states} == {(None,) * 4}


def test_one_step_of_difference_is_a_failed_check(folder: Path) -> None:
    session = run(folder / INT8_FILE, answers([[1, 2, 3], [4, 5, 7]]), answers(engine="litert 2.3.0"))
    (row,) = session.measurements
    assert row.emulation is None
    assert row.failure == (
        "gives other outputs than on this machine for 1 of 2 images: the largest difference is 1 steps of int8 "
        "(allowed: none; litert 2.1.6 there, litert 2.3.0 here)"
    )


@pytest.mark.parametrize(
    ("system", "dtype", "exact", "value", "allowed"),
    [
        (ARM64, "float32", False, 3.000009, True),
        (ARM64, "float32", False, 3.00002, False),
        (ARM64, "float32", False, float("nan"), False),
        (ARM64, "int8", True, 4, False),
        (ARM64, "int8", False, 7, True),
        (ARM64, "int8", False, 8, False),
        (ARMHF, "int8", True, 4, True),
        (ARMHF, "int8", False, 11, True),
    ],
)
def test_how_far_outputs_may_differ(system: Any, dtype: str, exact: bool, value: float, allowed: bool) -> None:
    there, here = (outputs([[1, 2, each]], dtype=dtype, exact=exact) for each in (value, 3))
    if allowed:
        assert largest_difference(system, there, here) == pytest.approx(value - 3)
    else:
        with pytest.raises(CheckFailedError, match="gives other outputs than on this machine for 1 of 1 images"):
            largest_difference(system, there, here)


def test_outputs_of_another_type_or_number_do_not_compare() -> None:
    with pytest.raises(CheckFailedError, match="gives float32 there, but int8 here"):
        largest_difference(ARM64, outputs(SAME, dtype="float32"), outputs(SAME))
    with pytest.raises(CheckFailedError, match=r"gives \[1, 3\] outputs there, but \[2, 3\] here"):
        largest_difference(ARM64, outputs(SAME[:1]), outputs(SAME))


def test_counts_may_lie_two_per_cent_apart() -> None:
    check_counts([1000, 1000, 1019])
    with pytest.raises(CheckFailedError, match="took from 1,000 to 1,030 instructions in 3 counts, 3.0% apart"):
        check_counts([1000, 1000, 1030])


def test_a_count_that_does_not_repeat_is_a_failed_check(folder: Path) -> None:
    counts = {"count": [{"instructions": number} for number in (1000, 1100)]}
    (row,) = run(folder / INT8_FILE, answers(), answers(), counts).measurements
    assert row.failure is not None and "a count that does not repeat says nothing" in row.failure


def test_one_count_is_unstable(folder: Path) -> None:
    (row,) = run(folder / INT8_FILE, answers(), answers(), runs=1).measurements
    assert row.failure is None
    assert row.verdict.level == "unstable"
    assert "1 count tells nothing of the spread" in row.verdict.reasons[0]


def test_a_crash_is_one_row_and_the_others_go_on(folder: Path) -> None:
    crash = "was killed by SIGSEGV (a fault of the engine, or a damaged file)"

    def count(request: dict[str, Any]) -> Any:
        return {"instructions": 1000} if request["file"].endswith(INT8_FILE) else crash

    broken, whole = run(folder, answers(), answers(), {"count": count}).measurements
    assert (broken.failure, whole.failure) == (crash, None)
    assert whole.emulation is not None and whole.emulation.instructions == (1000, 1000)


def test_device_code_that_does_not_import_there_ends_the_bench(folder: Path) -> None:
    there = answers() | {"imports": "edgecnn.measure.x cannot be imported there: No module named 'x'"}
    with pytest.raises(CheckFailedError, match="edgecnn.measure.x cannot be imported there"):
        run(folder, there, answers())


def test_ctrl_c_ends_every_process(folder: Path) -> None:
    sleepers: list[Worker] = []

    def sleeper() -> Worker:
        sleepers.append(Worker([sys.executable, "-c", "import time; time.sleep(50)"]))
        os.kill(os.getpid(), signal.SIGINT)
        return sleepers[-1]

    def make(cpu: Any, say: Callable[[str], None]) -> Emulator:
        scripted = emulator(answers(), answers(), COUNT)(cpu, say)
        return Emulator(scripted.name, scripted.plain, sleeper, scripted.here)

    with pytest.raises(KeyboardInterrupt):
        bench("emulated:cortex-a72", Order((folder / INT8_FILE,), settings=Settings(runs=1)), lambda _line: None, make)
    assert [worker._process.returncode for worker in sleepers] == [-signal.SIGKILL]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--target", "emulated:cortex-a99"], "unknown emulated CPU 'cortex-a99'"),
        (["--threads", "2"], "--threads 2 cannot be had on an emulated CPU"),
        (["--batch", "4"], "--batch 4 cannot be had on an emulated CPU"),
        (["--pin", "0"], "--pin 0 cannot be had on an emulated CPU, where no time is measured"),
        (["--min-seconds", "3"], "--min-seconds 3 cannot be had on an emulated CPU"),
        (["--cooldown", "1"], "--cooldown 1 cannot be had on an emulated CPU"),
        (["--sustained", "9"], "--sustained 9 cannot be had on an emulated CPU"),
        (["--runtime", "onnxruntime"], "--runtime onnxruntime cannot run on an emulated CPU (valid: litert)"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    folder: Path, words: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    target = [] if "--target" in words else ["--target", "emulated:cortex-a72"]
    assert main(["bench", str(folder), *target, *words]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err


def test_files_of_other_formats_are_named_and_left_out(folder: Path) -> None:
    lines: list[str] = []
    other = folder.parent / "other.onnx"
    other.write_bytes(b"onnx")
    order = Order((folder / INT8_FILE, other), settings=Settings(runs=1))
    session = bench("emulated:cortex-a72", order, lines.append, emulator(answers(), answers(), COUNT))
    assert len(session.measurements) == 1
    assert lines[0] == "only .tflite files run on an emulated CPU; left out: 1 others (.onnx)"


def test_an_operation_costs_what_its_prefix_adds(folder: Path) -> None:
    known = {"names": ["CONV_2D", "ADD"], "outputs": ["int8 1x4", "int8 1x2"]}
    counts = {"operations": [known | {"instructions": each} for each in ([10, 50, 49], [12, 50, 49], [10, 50, 49])]}
    order = Order((folder / INT8_FILE,), settings=Settings(runs=3))
    found = instructions_by_operation("emulated:cortex-a53", order, lambda _line: None, emulator({}, {}, counts))
    assert (found.cpu, found.fixed, found.total) == ("Cortex-A53", 10, 49)
    assert [(each.name, each.output, each.instructions) for each in found.operations] == [
        ("CONV_2D", "int8 1x4", 40),
        ("ADD", "int8 1x2", -1),
    ]


def test_operations_whose_counts_do_not_repeat_are_a_failed_check(folder: Path) -> None:
    known = {"names": ["ADD"], "outputs": ["int8 1x2"]}
    counts = {"operations": [known | {"instructions": [10, each]} for each in (100, 110)]}
    order = Order((folder / INT8_FILE,), settings=Settings(runs=2))
    with pytest.raises(CheckFailedError, match="a count that does not repeat says nothing"):
        instructions_by_operation("emulated:cortex-a53", order, lambda _line: None, emulator({}, {}, counts))


def test_a_target_without_a_profile_is_refused_in_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(folder / INT8_FILE), "--target", "ssh://board"]) == 2
    assert capfd.readouterr().err.endswith("'ssh://board' has no profile (valid: local, emulated:CPU)\n")


def test_a_bundle_without_images_is_compared_on_noise(folder: Path) -> None:
    manifest = Manifest.load(folder)
    bare = tuple(dataclasses.replace(each, accuracy=None) for each in manifest.artifacts)
    dataclasses.replace(manifest, sample=None, artifacts=bare).save(folder)
    case = find_cases(Order((folder / INT8_FILE,), ("litert",)))[0]
    (answer,) = device.serve([json.dumps({"do": "outputs", "case": dataclasses.asdict(case), "most": 10})])
    assert (answer.get("error"), answer["correct"], len(answer["outputs"])) == (None, None, device.NOISE)
