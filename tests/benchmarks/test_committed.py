"""Results that are committed: shown, chosen from, measured anew and kept."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks import committed
from benchmarks.committed import Results, Row
from edgecnn.errors import UnknownNameError


def text(rows: Sequence[Row]) -> str:
    return " ".join(f"{row['model']}{row['seed']}={row['value']}" for row in rows)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    monkeypatch.setattr(committed, "FOLDER", tmp_path)
    rows = [{"model": model, "seed": seed, "value": 1} for model in "ab" for seed in (0, 1)]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    return Results("x.json", ("model", "seed"), text)


def run(results: Results, *words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", nargs="+", default=["a", "b"])
    parser.add_argument("--data", default="cifar10")

    def measure(options: argparse.Namespace) -> Iterator[Row]:
        if options.data == "nowhere":
            raise UnknownNameError("data set", options.data, ["cifar10"])
        for model in options.model:
            yield {"model": model, "seed": 1, "value": 2}
        if "c" in options.model:
            raise KeyboardInterrupt

    return results.main(parser, measure, words)


def test_without_words_all_is_shown_and_nothing_measured(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    before = results.path.read_bytes()
    assert run(results) == 0
    assert capsys.readouterr().out == "a0=1 a1=1 b0=1 b1=1\n"
    assert run(results, "--model", "b") == 0
    assert capsys.readouterr().out == "b0=1 b1=1\n"
    assert results.path.read_bytes() == before


def test_a_new_row_takes_the_place_of_the_old_and_is_kept_only_if_asked(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(results, "--measure", "--model", "a") == 0
    assert capsys.readouterr().out == "a0=1 a1=2\n"
    assert run(results, "--measure", "--model", "b", "--record", "--json") == 0
    assert json.loads(capsys.readouterr().out)[1] == {"model": "b", "seed": 1, "value": 2}
    assert text(results.rows()) == "a0=1 a1=1 b0=1 b1=2"


def test_what_was_measured_before_an_interruption_is_kept(results: Results) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(results, "--measure", "--record", "--model", "c")
    assert text(results.rows()) == "a0=1 a1=1 b0=1 b1=1 c1=2"


@pytest.mark.parametrize("words", [["--record"], ["--data", "digits"], ["--data", "digits", "--measure", "--record"]])
def test_what_would_be_passed_over_or_taken_for_cifar10_is_refused(results: Results, words: list[str]) -> None:
    before = results.path.read_bytes()
    with pytest.raises(SystemExit) as refused:
        run(results, *words)
    assert refused.value.code == 2
    assert results.path.read_bytes() == before


def test_what_is_measured_on_other_data_is_shown_alone(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(results, "--measure", "--data", "digits") == 0
    assert capsys.readouterr().out == "a1=2 b1=2\n"


def test_what_cannot_be_measured_is_one_line(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(results, "--measure", "--data", "nowhere") == 2
    assert capsys.readouterr().err == "x: error: unknown data set 'nowhere' (valid: cifar10)\n"


def test_what_another_process_recorded_meanwhile_is_kept(results: Results) -> None:
    def measure(options: argparse.Namespace) -> Iterator[Row]:
        run(results, "--measure", "--model", "d", "--record")
        yield {"model": "a", "seed": 0, "value": 3}

    assert results.main(argparse.ArgumentParser(), measure, ["--measure", "--record"]) == 0
    assert text(results.rows()) == "a0=3 a1=1 b0=1 b1=1 d1=2"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--model", "a", "z"], "there is no result of model z (valid: a, b); --measure makes new ones"),
        (["--model", "a", "--seed", "2"], "there is no result of seed 2 (valid: 0, 1)"),
        (["--model", "a", "--kind", "y"], "there is no result of all this together (model, kind, seed)"),
    ],
)
def test_what_no_result_is_of_is_not_passed_over(
    words: list[str], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(committed, "FOLDER", tmp_path)
    rows = [{"model": "ab"[seed], "seed": seed, "kind": "xy"[seed], "value": 1} for seed in (0, 1)]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    parser = argparse.ArgumentParser()
    for name, kind in (("--model", str), ("--seed", int), ("--kind", str)):
        parser.add_argument(name, nargs="+", type=kind, default=[row[name[2:]] for row in rows])
    assert Results("x.json", ("model", "kind", "seed"), text).main(parser, lambda _options: (), words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"x: error: {what}")
