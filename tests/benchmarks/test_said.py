"""What the command line says to a script: kept, or one line of why not."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import pruning, qat
from edgecnn.errors import BadFileError, CheckFailedError


def answers(monkeypatch: pytest.MonkeyPatch, code: int, output: bytes) -> list[Sequence[str]]:
    """Let every command end so; gives those that were run."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str], check: bool = False, **_words: object) -> SimpleNamespace:
        asked.append(command)
        if check and code:
            raise subprocess.CalledProcessError(code, command)
        return SimpleNamespace(returncode=code, stdout=output)

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_a_pruning_that_missed_its_target_is_a_result_and_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, 1, b'{"met": false}')
    for _ in range(2):
        with pytest.raises(BadFileError, match="cannot read weights"):  # since nothing was really pruned
            pruning.run("lenet", "macs:0.5", [], tmp_path / "runs" / "a")
    assert len(asked) == 1


@pytest.mark.parametrize("output", [b"", b'{"files": []}'])
def test_a_command_that_fails_is_one_line_and_not_kept(
    output: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, 1, output)
    words = ["--measure", "--model", "lenet", "--seed", "0", "--runs", str(tmp_path)]
    assert qat.main([*words, "--recipe", "static_w8a8"]) == CheckFailedError.exit_code
    assert "qat: error: edgecnn quantize --model lenet" in (err := capsys.readouterr().err)
    assert "ended with exit code 1" in err
    assert not list(tmp_path.iterdir())
