"""``edgecnn doctor`` with the runtimes' findings given, on this machine's disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecnn.cli.main import main
from edgecnn.measure import doctor
from edgecnn.measure.doctor import ABSENT, EXTRAS, OK, Finding


@pytest.fixture(autouse=True)
def _no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path / "none" / "yet"))


def runtimes(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    finding = Finding("ai_edge_litert", state, "2.3.0 imports", "do this")
    monkeypatch.setattr(doctor, "check_runtimes", lambda: [finding])


def test_a_machine_that_can_run_tflite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    runtimes(monkeypatch, OK)
    assert main(["doctor"]) == 0
    out = capfd.readouterr().out
    for words in ("system ", "python  3.", "int8 ", "ai_edge_litert  ok", "2.3.0 imports", "do this"):
        assert words in out
    assert f"not in {tmp_path / 'none' / 'yet'}" in out
    assert f"GB free at {tmp_path}" in out


def test_json(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    runtimes(monkeypatch, OK)
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["machine"]["cores"] >= 1
    states = {each["about"]: each["state"] for each in document["findings"]}
    assert list(states) == ["ai_edge_litert", *(f"[{extra}]" for extra in EXTRAS), "CIFAR-10", "disk"]
    assert states["CIFAR-10"] == ABSENT


def test_no_runtime_is_an_error_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    runtimes(monkeypatch, ABSENT)
    assert main(["doctor"]) == 1
    out, err = capfd.readouterr()
    assert "absent" in out
    assert err.startswith("edgecnn: error: no TFLite file can be run here; run: pip install ai-edge-litert")


def test_damaged_data_and_a_full_disk_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    runtimes(monkeypatch, OK)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(b"cut")
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path))
    monkeypatch.setattr("edgecnn.cli.doctor.LEAST_FREE", 1 << 80)
    assert main(["doctor", "--json"]) == 0
    findings = {each["about"]: each for each in json.loads(capfd.readouterr().out)["findings"]}
    assert (findings["CIFAR-10"]["state"], findings["disk"]["state"]) == ("broken", "broken")
    assert findings["disk"]["mend"] == "free 1 GB there"
