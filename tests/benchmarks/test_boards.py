"""The command line of what runs install.sh in ARM systems; nothing is emulated here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import boards


def test_releases_are_named_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, Path, str]] = []

    def check(bundle: Path, image: Path, release: str) -> bool:
        asked.append((bundle, image, release))
        return release != "bookworm"

    monkeypatch.setattr(boards, "check", check)
    assert boards.main(["b", "i.png", "trixie"]) == 0
    assert boards.main(["b", "i.png"]) == 1
    assert asked == [(Path("b"), Path("i.png"), release) for release in ("trixie", "bookworm", "trixie")]


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), ([], 2), (["b", "i.png", "buster"], 2)])
def test_help_is_shown_and_words_that_are_none_are_refused(words: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        boards.main(words)
    assert ended.value.code == code
