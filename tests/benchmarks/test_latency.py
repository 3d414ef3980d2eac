"""Latency measurements: the arithmetic on times we choose, and real files in real processes, never their speed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import latency
from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime import amx
from tests import tiny_artifacts

SLOW, FAST = [200.0, 220.0, 180.0, 2000.0], [100.0, 110.0, 60.0, 1000.0]


class Scripted:
    """A pipe to a process that answers what we say; ``order`` records whose turn it was."""

    def __init__(self, name: str, order: list[str]) -> None:
        self.name, self.order = name, order
        self.answers: Iterator[str | float] = iter(["engine 1", *(SLOW if name == "slow" else FAST)])

    def send(self, _message: str) -> None:
        self.order.append(self.name)

    def recv(self) -> str | float:
        return next(self.answers)


def test_ratios_are_taken_round_by_round_so_that_a_disturbance_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    @contextmanager
    def child(path: Path, _setting: str) -> Iterator[tuple[Path, Any, Scripted]]:
        pipe = Scripted(path.name, order)
        yield path, pipe.recv(), pipe

    monkeypatch.setattr(latency, "_child", child)
    monkeypatch.setattr(amx, "supported", lambda: False)
    slow, fast = latency.measure([Path("slow"), Path("fast")], rounds=4)
    assert order == ["slow", "fast"] * 4
    assert (slow.microseconds, slow.low, slow.high) == (210, 195, 665)
    assert (slow.ratio, slow.ratio_low, slow.ratio_high) == (1, 1, 1)
    assert (fast.file, fast.engine, fast.microseconds, fast.turns) == ("fast", "engine 1", 105, FAST)
    assert (fast.ratio, fast.ratio_high) == (0.5, 0.5)
    assert fast.ratio_low == pytest.approx(1 / 3)  # in 5 % of the draws three of the four rounds are the odd one


def test_a_real_file_is_measured_with_and_without_amx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=True)
    assert latency.main([str(path), "--rounds", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    endings = ["AMX withheld", "AMX allowed"] if amx.supported() else [""]
    assert document["rounds"] == 2
    for result, ending in zip(document["results"], endings, strict=True):
        assert result["file"] == str(path)
        assert result["engine"].endswith(ending)
        assert len(result["turns"]) == 2 and min(result["turns"]) > 0
    assert document["results"][0]["ratio"] == 1


def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = tmp_path / "junk.tflite"
    junk.write_bytes(b"junk" * 100)
    for path, reason in ((tmp_path / "none.tflite", "is not a file"), (junk, "is not a TFLite file")):
        assert latency.main([str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"latency: error: {path} {reason}")
        assert error.count("\n") == 1
    with pytest.raises(UsageError, match="1 files in 1 rounds"):
        latency.measure([junk], rounds=1)


def test_a_process_that_ends_by_itself_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_serve", print)
    with pytest.raises(BadFileError, match="ended the process"):
        latency.measure([Path("a.tflite")])
