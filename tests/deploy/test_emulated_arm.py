"""Real QEMU and a real ARM system, which is made in the cache folder when it is not there: the short form for CI."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest

from edgecnn.cli.main import main
from edgecnn.deploy.emulated_arm.cpus import ARM64
from edgecnn.deploy.emulated_arm.plugin import find_qemu
from edgecnn.errors import UsageError
from edgecnn.measure.measurement import Session
from tests import tiny_artifacts
from tests.tiny_artifacts import INT8_FILE
from tests.tools import tool

TARGET = "emulated:cortex-a76"


def need_emulator() -> None:
    """Skip, or under CI fail, without what it takes: of Debian 13's QEMU, for example, nothing can be counted."""
    tool("gcc"), tool("apt-get"), tool("qemu-aarch64")
    try:
        find_qemu(ARM64)
    except UsageError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def test_a_bundle_gives_the_same_on_an_emulated_cortex_a76(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    need_emulator()
    folder, result = tiny_artifacts.bundle(tmp_path / "b"), tmp_path / "run.json"
    words = ["bench", str(folder), "--target", TARGET, "--runs", "2", "--json", str(result), "--format", "csv"]
    code = main(words)
    out, err = capfd.readouterr()
    assert code == 0, err
    session = Session.load(result)
    machine = session.machine
    assert (machine.emulated, machine.architecture) == (True, "aarch64")
    assert (machine.cpu, machine.features) == ("Cortex-A76", ("asimddp",))  # by /proc/cpuinfo and by the kernel's word
    assert "aarch64-linux-gnu" in machine.python
    for row in session.measurements:
        assert row.engine == "litert 2.1.6"
        assert row.emulation is not None
        assert row.emulation.images == 50
        assert row.accuracy is not None and row.accuracy.images == 50
        assert len(row.emulation.instructions) == 2
        # One layer of 48 x 3 products and the engine around it: less than the Python that calls it.
        assert 500 < min(row.emulation.instructions) <= max(row.emulation.instructions) < 8_000
    quantized = session.measurements[1].emulation
    assert quantized is not None and quantized.largest_difference == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert [line["emulated_cpu"] for line in lines] == ["Cortex-A76"] * 2
    assert {line["p50"] for line in lines} == {""}


def test_the_operations_of_a_file_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    need_emulator()
    matrix = tiny_artifacts.weights(image=(8, 8, 3), classes=50)
    path = tiny_artifacts.tflite(tmp_path / INT8_FILE, matrix, image=(8, 8, 3), quantized=True, batch=1)
    assert main(["profile", str(path), "--target", TARGET, "--runs", "1", "--json"]) == 0
    counted = json.loads(capfd.readouterr().out)
    assert [(each["name"], each["output"]) for each in counted["operations"]] == [
        ("RESHAPE", "int8 1x192"),
        ("FULLY_CONNECTED", "int8 1x50"),
    ]
    assert counted["fixed"] > 0
    reshape, layer = (each["instructions"] for each in counted["operations"])
    assert layer > max(600, reshape)  # 50 x 192 products, of which one SDOT does 16
