"""The README's table is that of the committed results, and follows them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import readme
from benchmarks.peers import NAME
from benchmarks.suite import ACCURACY, BENCH
from benchmarks.summary import Row
from edgecnn.errors import BadFileError
from edgecnn.measure.measurement import Session
from edgecnn.measure.trust import UNSTABLE, Verdict
from tests.measure.benches import FAST, row, session, slower

TEXT = "before\n<!-- results: box -->\nold\n<!-- end of results -->\nafter\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [
        row(times=FAST, model=model, recipe=recipe, bytes=size, runtime=runtime)
        for model in ("lenet", NAME)
        for recipe, size in (("float32", 4000), ("static_w8a8", 1000))
        for runtime in ("tflite-runtime", "litert")
    ]
    fast = tuple(each / 2 for each in FAST)
    rows[3] = row(times=fast, recipe="static_w8a8", bytes=1000)
    (tmp_path / "box").mkdir()
    session(*rows).save(tmp_path / "box" / BENCH)
    write(tmp_path, 0.7378)
    return tmp_path


def write(results: Path, accuracy: float) -> None:
    rows = [
        Row(name, "cifar10", 10_000, 0.7373, accuracy, 0.05, (-0.17, 0.27), 0.98, "static_w8a8")
        for name in ("lenet", NAME)
    ]
    (results / "box" / ACCURACY).write_text(json.dumps([dataclasses.asdict(each) for each in rows]))


def test_the_readme_is_up_to_date() -> None:
    text = readme.README.read_text("utf-8")
    assert readme.updated(text) == text, "run: python -m benchmarks.readme --write"


def test_the_table_has_the_figures_of_litert_and_leaves_the_rest_alone(results: Path) -> None:
    text = readme.updated(TEXT, results)
    assert text.startswith("before\n<!-- results: box -->\n\n| model |")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert (
        "| `lenet` | 73.73 % | 73.78 % | +0.05 (-0.17 to +0.27) | 4,000 | 1,000 | 0.250 | 102.0 | 51.0 | 0.50 |" in text
    )
    assert "| MLPerf Tiny's ResNet-8 | 73.73 %" in text
    assert "Accuracy on all 10,000 test images of cifar10" in text
    assert "unstable" not in text
    assert readme.updated(text, results) == text


def test_another_result_makes_the_table_stale(results: Path) -> None:
    text = readme.updated(TEXT, results)
    write(results, 0.75)
    assert readme.updated(text, results) != text


def test_an_unstable_machine_is_told(results: Path) -> None:
    rows = [row(times=slower(0, FAST), model=model, recipe=recipe) for model in ("lenet", NAME)
            for recipe in ("float32", "static_w8a8")]  # fmt: skip
    doubt = Verdict(UNSTABLE, ("other processes kept 1.0 of 4 CPUs busy",))
    busy = [dataclasses.replace(each, verdict=doubt) for each in rows]  # as every file's then is
    session(*busy, verdict=doubt).save(results / "box" / BENCH)
    words = " ".join(readme.updated(TEXT, results).split())
    assert "The machine was unstable: other processes kept 1.0 of 4 CPUs busy." in words
    assert readme.UNSURE not in words


def test_a_time_whose_runs_differ_too_much_is_marked(results: Path) -> None:
    found = Session.load(results / "box" / BENCH)
    doubt = Verdict(UNSTABLE, ("runs of the same file differ by 13% (limit 10%)",))
    rows = [
        dataclasses.replace(each, verdict=doubt) if each.case.recipe == "static_w8a8" else each
        for each in found.measurements
    ]
    dataclasses.replace(found, measurements=tuple(rows)).save(results / "box" / BENCH)
    words = readme.updated(TEXT, results)
    assert "| 102.0 | 51.0\\* | 0.50 |" in words
    assert "\\* runs of this file differ by more than 10%." in " ".join(words.split())


def test_what_is_missing_is_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="no block '<!-- results: MACHINE -->'"):
        readme.updated("nothing here", results)
    session(row(recipe="float32")).save(results / "box" / BENCH)
    with pytest.raises(BadFileError, match="has no run of lenet static_w8a8 on litert"):
        readme.updated(TEXT, results)


def test_write_changes_the_file_and_otherwise_the_table_is_printed(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "README.md"
    file.write_text(TEXT)
    shown = readme.updated(TEXT, results)
    monkeypatch.setattr(readme, "updated", lambda _text: shown)
    assert readme.main(["--file", str(file)]) == 0
    assert capsys.readouterr().out.startswith("| model |")
    assert file.read_text() == TEXT
    assert readme.main(["--file", str(file), "--write"]) == 0
    assert file.read_text() == shown


def test_any_machine_s_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = readme.README.read_text("utf-8")
    match = readme.BLOCK.search(text)
    assert match is not None
    assert readme.main(["--machine", match[1]]) == 0
    assert capsys.readouterr().out.strip() == match[3].strip()
