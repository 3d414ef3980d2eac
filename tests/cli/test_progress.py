"""Lines that stay and lines that pass, on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from edgecnn.cli.progress import ERASE, Progress, can_write


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def said(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "20")
    with Progress() as say:
        say.passing("round 1 of 5, which is a long line")
        say("stays")
        say.passing("round 2")
    return stream.getvalue()


def test_on_a_terminal_passing_lines_are_written_over_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(Terminal(), monkeypatch) == f"{ERASE}round 1 of 5, which{ERASE}stays\n{ERASE}round 2{ERASE}"


def test_elsewhere_every_line_is_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(io.StringIO(), monkeypatch) == "round 1 of 5, which is a long line\nstays\nround 2\n"


@pytest.mark.parametrize(("encoding", "can"), [("utf-8", True), ("ascii", False), ("latin-1", False)])
def test_what_standard_output_can_show(encoding: str, can: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    assert can_write("▁█") is can
    assert can_write("_@")
