"""The tables of benchmarks/README.md are what their commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tables

TEXT = "before\n\n<!-- python -m benchmarks.selection -->\nold\n<!-- end -->\n\nafter\n"


def test_the_page_is_up_to_date() -> None:
    text = tables.PAGE.read_text("utf-8")
    assert tables.updated(text) == text, "run: python -m benchmarks.tables --write"


def test_a_table_is_what_its_command_prints_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    assert tables.main(["--write", "--file", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n\n<!-- python -m benchmarks.selection -->\n\n```\nmodel ")
    assert text.endswith("\n```\n\n<!-- end -->\n\nafter\n")
    assert "old" not in text
    assert "resnet8" in text


def test_a_command_that_fails_leaves_the_page_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    before = TEXT.replace("selection", "summary --data nowhere")
    page.write_text(before)
    assert tables.main(["--write", "--file", str(page)]) == 1
    assert "python -m benchmarks.summary --data nowhere failed with exit code 2" in capsys.readouterr().err
    assert page.read_text() == before
