"""``edgecnn report``: what it writes, what it refuses, and its exit code for figures that are INVALID."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgecnn.cli.main import main
from edgecnn.report import png
from tests.report.samples import OTHER, THROTTLED, invalid, profile, row, session


@pytest.fixture
def run(tmp_path: Path) -> Path:
    session([row()]).save(tmp_path / "run.json")
    return tmp_path / "run.json"


def test_all_three_forms_are_written(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page, text, pictures = tmp_path / "new/a.html", tmp_path / "a.md", tmp_path / "plots"
    words = ["report", str(run), "--html", str(page), "--markdown", str(text), "--png", str(pictures)]
    assert main([*words, "--title", "My board"]) == 0
    assert "<title>My board: Valid</title>" in page.read_text("utf-8")
    assert text.read_text("utf-8").startswith("# My board\n")
    assert sorted(each.name for each in pictures.iterdir()) == [
        "accuracy-bytes.png", "accuracy-latency.png", "distribution-1.png",
    ]  # fmt: skip
    out, err = capfd.readouterr()
    assert f"wrote {page} ({page.stat().st_size:,} bytes)" in out and not err


def test_several_files_and_machines_make_one_page(run: Path, tmp_path: Path) -> None:
    session([row("other")], OTHER).save(tmp_path / "two.json")
    assert main(["report", str(run), str(tmp_path / "two.json"), "--html", str(tmp_path / "a.html")]) == 0
    text = (tmp_path / "a.html").read_text("utf-8")
    assert 'id="machine-1"' in text and 'id="machine-2"' in text


def test_an_invalid_session_is_written_and_exits_with_3(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    invalid([row()]).save(tmp_path / "run.json")
    assert main(["report", str(tmp_path / "run.json"), "--html", str(tmp_path / "a.html")]) == 3
    assert "INVALID" in (tmp_path / "a.html").read_text("utf-8")
    out, err = capfd.readouterr()
    assert out.startswith("wrote ")
    assert err == (
        "edgecnn: error: the report is written, but figures in it are INVALID: under-voltage during the run\n"
    )


def test_a_profile_is_told_from_a_bench_by_its_content(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ops.json").write_text(json.dumps(profile(verdict=THROTTLED).document()))
    words = ["report", str(run), str(tmp_path / "ops.json"), "--png", str(tmp_path / "plots")]
    assert main(words) == 3
    assert (tmp_path / "plots/operations-1.png").exists() and (tmp_path / "plots/distribution-1.png").exists()
    assert "INVALID: under-voltage" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["RUN"], "nothing to write: give at least one of --html FILE, --markdown FILE and --png FOLDER"),
        (["--html", "a.html"], "Missing argument 'RUN.json...'"),
        (["none.json", "--html", "a.html"], "cannot read none.json: No such file or directory"),
        (["RUN", "RUN", "--html", "a.html"], "run.json is given twice"),
        (["RUN", "--html", "RUN", "--force"], "run.json is to be read and to be written"),
        (["RUN", "--html", "pictures/../run.json", "--force"], "run.json is to be read and to be written"),
        (["link", "--html", "RUN", "--force"], "run.json is to be read and to be written"),
        (["RUN", "--html", "a", "--markdown", "a"], "a is to be written twice"),
        (["RUN", "--html", "a", "--markdown", "pictures/../a"], "a is to be written twice"),
        (["RUN", "--png", "new", "--html", "new/accuracy-bytes.png"], "new/accuracy-bytes.png is to be written twice"),
        (["RUN", "--html", "old"], "old already exists"),
        (["RUN", "--markdown", "old"], "old already exists"),
        (["RUN", "--png", "old"], "cannot write old"),
        (["RUN", "--png", "pictures"], "pictures/accuracy-bytes.png already exists"),
        (["damaged", "--html", "a.html"], "damaged is not valid JSON"),
        (["newer", "--html", "a.html"], "newer: schema is 99, newer than"),
        (["newer-ops", "--html", "a.html"], "newer-ops: schema is 99, newer than"),
        (["damaged-ops", "--html", "a.html"], "damaged-ops: partitions must be a whole number"),
        (["list", "--html", "a.html"], "list: the document must be an object"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_writes_nothing(
    words: list[str], reason: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/accuracy-bytes.png").write_text("old")
    (tmp_path / "damaged").write_text('{"schema": 1')
    (tmp_path / "newer").write_text(json.dumps({"schema": 99, "measurements": []}))
    (tmp_path / "newer-ops").write_text(json.dumps({"schema": 99, "operations": []}))
    (tmp_path / "damaged-ops").write_text(json.dumps(profile().document() | {"partitions": "2"}))
    (tmp_path / "list").write_text("[]")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["report", *(str(run) if word == "RUN" else word for word in words)]) == 2
    out, err = capfd.readouterr()
    assert reason in err and len(err.splitlines()) == 1 and not out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_force_replaces_what_is_there(run: Path, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("old")
    assert main(["report", str(run), "--html", str(tmp_path / "a.html"), "--force"]) == 0
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


def test_without_the_library_for_pictures_nothing_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(png, "find_spec", lambda name: None)
    words = ["report", str(run), "--html", str(tmp_path / "a.html"), "--png", str(tmp_path / "plots")]
    assert main(words) == 2
    assert "run: pip install 'edgecnn[plots]'" in capfd.readouterr().err
    assert not (tmp_path / "a.html").exists()


def test_a_page_needs_no_heavy_package(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "matplotlib", "resvg_py", "playwright"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails, also where another test made one
    assert main(["report", str(run), "--html", str(tmp_path / "a.html"), "--markdown", str(tmp_path / "a.md")]) == 0


def test_a_file_that_asks_for_endless_work_is_refused(run: Path, tmp_path: Path, capfd) -> None:
    document = json.loads(run.read_text())
    document["settings"]["runs"] = 2**62  # of which an interval would take numbers of as many bits
    run.write_text(json.dumps(document))
    assert main(["report", str(run), "--html", str(tmp_path / "a.html")]) == 2
    assert "settings: runs is 4611686018427387904 (valid: 1 to 1000)" in capfd.readouterr().err


def test_a_folder_in_the_place_of_a_page_is_refused(run: Path, tmp_path: Path, capfd) -> None:
    assert main(["report", str(run), "--html", str(tmp_path), "--force"]) == 2
    assert f"{tmp_path} is a folder" in capfd.readouterr().err
