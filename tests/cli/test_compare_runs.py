"""``edgecnn compare-runs`` on files of scripted benches: exit codes, what goes where, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecnn.cli.main import main
from edgecnn.measure.measurement import Session
from edgecnn.measure.trust import INVALID, Verdict
from tests import tiny_artifacts
from tests.measure.benches import row, session, slower


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return save(tmp_path / "old.json", session(row(right=(90, 100)), row("b.tflite", right=(90, 100))))


def save(path: Path, what: Session) -> Path:
    what.save(path)
    return path


def test_nothing_worse_is_0(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare-runs", str(old), str(old)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()[5:11]] == ["bundle/a.tflite"] * 3 + ["bundle/b.tflite"] * 3
    assert "test of latency p50: rank sum of 5 and 5 runs, beyond 3%" in out
    assert "-0.00" not in out
    assert out.endswith("0 regressions in 6 comparisons\n")


def test_a_regression_is_1_and_named(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = row(times=slower(0.2), right=(90, 100))
    new = save(tmp_path / "new.json", session(slow, row("b.tflite", right=(90, 100))))
    assert main(["compare-runs", str(old), str(new)]) == 1
    out, err = capsys.readouterr()
    line = next(line for line in out.splitlines() if "REGRESSION" in line)
    assert " ".join(line.split()) == (
        "bundle/a.tflite litert 1 1 latency p50 102.0 us 122.4 us +20.0 % 5 % REGRESSION 0.0079"
    )
    assert err == "edgecnn: error: 1 regression: latency p50 of a.tflite in litert is worse by 20 % (limit 5 %)\n"
    assert main(["compare-runs", str(old), str(new), "--fail-on", "latency:25%,bytes:1%"]) == 0


def test_a_text_of_a_result_file_makes_no_line_of_its_own(old: Path, tmp_path: Path, capsys) -> None:
    failed = row(failure="it broke\n::notice::0 regressions in 6 comparisons")
    new = save(tmp_path / "new.json", session(failed, row("b.tflite", right=(90, 100)), cpu="a\n::error::b"))
    assert main(["compare-runs", str(old), str(new), "--force"]) == 0
    out, err = capsys.readouterr()
    assert not any(line.startswith("::") for line in (out + err).splitlines())
    assert "failed now: it broke ::notice::0 regressions" in out


def test_another_machine_is_2_unless_forced(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (row(right=(90, 100)), row("b.tflite", right=(90, 100)))
    new = save(tmp_path / "new.json", session(*rows, cpu="Cortex-A72"))
    assert main(["compare-runs", str(old), str(new)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "machine.cpu was 'Cortex-A76' and is 'Cortex-A72'" in err
    assert main(["compare-runs", str(old), str(new), "--force"]) == 0
    out, err = capsys.readouterr()
    assert "WARNING, compared because of --force: machine.cpu was 'Cortex-A76'" in out
    assert err.startswith("edgecnn: warning: compared because of --force: machine.cpu")
    assert main(["compare-runs", str(old), str(new), "--fail-on", "accuracy:0.5pp,bytes:1%"]) == 0
    out, err = capsys.readouterr()
    assert "also different: machine.cpu" in out and err == ""


def test_an_invalid_bench_is_3(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = save(tmp_path / "new.json", session(verdict=Verdict(INVALID, ("throttled during the run",))))
    assert main(["compare-runs", str(old), str(new), "--force"]) == 3
    assert "the new bench is INVALID (throttled during the run)" in capsys.readouterr().err


def test_a_change_is_shown_with_the_sign_of_the_figure(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = save(tmp_path / "new.json", session(row(right=(40, 100), bytes=1000), row("b.tflite", right=(99, 100))))
    assert main(["compare-runs", str(old), str(new), "--fail-on", "accuracy:1pp,bytes:1kB,latency:5%"]) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any("accuracy 90.00 % 40.00 % -50.00 pp 1 pp REGRESSION" in line for line in lines)
    assert any("accuracy 90.00 % 99.00 % +9.00 pp 1 pp improvement" in line for line in lines)
    assert any("bytes 1,234 1,000 -0.234 kB 1 kB improvement" in line for line in lines)


def test_json_is_one_document_also_when_it_fails(old: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    new = save(tmp_path / "new.json", session(row(right=(90, 100), bytes=2000)))
    assert main(["compare-runs", str(old), str(new), "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert document["regressions"] == [
        "bytes of a.tflite in litert is worse by 62.1 % (limit 1 %)",
        "b.tflite was measured before and is not now",
    ]
    assert [each["verdict"] for each in document["changes"]] == ["no difference", "no difference", "REGRESSION"]


def test_markdown_is_a_table(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare-runs", str(old), str(old), "--format", "markdown"]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {12}
    assert table[2].startswith("| `bundle/a.tflite` | `litert` | 1 | 1 | latency p50 | 102.0 us | 102.0 us | +0.0 % |")


def test_names_are_no_markup_in_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = save(tmp_path / "named.json", session(row("a`|@team <b>.tflite", right=(90, 100))))
    assert main(["compare-runs", str(named), str(named), "--format", "markdown"]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert table[2].startswith("| `` bundle/a`\\|@team <b>.tflite `` | `litert` | ")


def test_two_real_benches_of_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_artifacts.bundle(tmp_path / "b")
    files = [tmp_path / name for name in ("old.json", "new.json")]
    for file in files:
        assert main(["bench", str(folder), "--runs", "1", "--min-seconds", "0.01", "--json", str(file)]) == 0
    assert main(["compare-runs", *map(str, files), "--fail-on", "bytes:0%,accuracy:0pp"]) == 0
    assert "0 regressions in 4 comparisons" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["OLD"], "Missing argument 'NEW.json'"),
        (["OLD", "none.json"], "cannot read none.json"),
        (["OLD", "OLD", "--fail-on", "speed:5%"], "unknown metric in --fail-on 'speed'"),
        (["OLD", "OLD", "--fail-on", "energy:5%"], "energy of no file is in the old bench"),
        (["OLD", "OLD", "--json", "--format", "markdown"], "--json prints JSON, and --format markdown something else"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    old: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare-runs", *(word.replace("OLD", str(old)) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err
