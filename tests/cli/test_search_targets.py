"""``edgecnn search`` with latency from elsewhere: a board behind a real SSH server, and an emulated CPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from edgecnn.cli.made_for import SCREENING
from edgecnn.measure.cases import Order
from edgecnn.measure.measurement import Settings
from edgecnn.search import prices, space
from edgecnn.search.space import Choice
from tests import tiny_artifacts
from tests.cli.test_search import done
from tests.deploy.scripted_board import ScriptedBoard
from tests.deploy.test_emulated_arm import need_emulator
from tests.deploy.test_ssh import board as board
from tests.deploy.test_ssh import server as server
from tests.search.small import small_space as small_space
from tests.search.small import words as words


@pytest.fixture
def unpruned(small_space: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small designs, of each one file."""
    monkeypatch.setitem(space.SPACE, "kept", Choice((1.0,)))


@pytest.mark.usefixtures("unpruned")
def test_latency_is_measured_on_a_board(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    board: ScriptedBoard,
) -> None:  # fmt: skip
    content = (tiny_artifacts.bundle(tmp_path / "b") / tiny_artifacts.INT8_FILE).read_bytes()
    monkeypatch.setattr(prices, "make", lambda order, source: SimpleNamespace(content=content))
    paths = []
    for name in ("resnet8", "candidate"):
        paths.append(tmp_path / f"{name}.tflite")
        paths[-1].write_bytes(content)
    board.answers(Order(tuple(paths), ("litert",), settings=Settings(*SCREENING)))
    words = [*words, "--objective", "accuracy,latency", "--target", board.target, "--out", str(tmp_path / "out")]
    document, _ = done(capfd, *words, "--trials", 2)
    latencies = [each["latency"] for each in document["front"]]
    assert latencies and latencies == [pytest.approx(1, rel=0.01)] * len(latencies)
    assert len(board.begun()) == 2
    assert not board.server.processes()


@pytest.mark.usefixtures("unpruned")
def test_latency_is_counted_on_an_emulated_cpu(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    need_emulator()
    words = [*words, "--objective", "accuracy,latency", "--out", str(tmp_path / "out"), "--trials", "1"]
    found = done(capfd, *words, "--target", "emulated:cortex-a72")[0]["front"][0]
    assert 20_000 < found["cost"] < 2_000_000, "instructions"
    assert 0.02 < found["latency"] < 1
