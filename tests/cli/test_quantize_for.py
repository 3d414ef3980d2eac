"""``edgecnn quantize --for``: the whole road with a measurer that knows the costs, with the emulator, and refusals."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import edgecnn.runtime
from edgecnn.cli import made_for
from edgecnn.cli.main import main
from edgecnn.data import registry
from edgecnn.deploy.ssh import board
from edgecnn.deploy.ssh.connection import LinkError
from edgecnn.export import choose, cuts, tflite
from edgecnn.measure.costs import INSTRUCTIONS
from edgecnn.quantize import passes
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.made_for import MadeFor, Trial
from edgecnn.runtime.manifest import Manifest
from tests.deploy.test_emulated_arm import need_emulator
from tests.measure import benches
from tests.measure.scripted_costs import ScriptedCosts

SCHEMA = json.loads(Path(edgecnn.runtime.__file__).with_name("manifest.schema.json").read_text())
FAST = ("--model", "lenet", "--data", "digits", "--format", "tflite")


def run(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the error if there was one."""
    code = main(["quantize", *map(str, words)])
    out, err = capfd.readouterr()
    return code, out, [line for line in err.splitlines() if line.startswith("edgecnn: ")]


@pytest.fixture
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sets of passes, so that few files are converted."""
    monkeypatch.setattr(passes, "PASSES", {"flatten_order": passes.PASSES["flatten_order"]})


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedCosts:
    """Costs go with the bytes of a file: flatten_order takes some away, float32 has more."""
    measure = ScriptedCosts(lambda path: float(path.stat().st_size), INSTRUCTIONS, ("the wind blew",))
    monkeypatch.setattr(made_for, "measure_on", lambda target, say: measure)
    monkeypatch.setattr(choose, "FASTER", 4)  # so that layers in float32 are tried, at one cut
    monkeypatch.setattr(cuts, "MOST_CUTS", 1)
    return measure


@pytest.mark.usefixtures("stored_conversions", "few_passes")
def test_the_chosen_files_their_costs_and_why_are_in_the_bundle_and_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], scripted: ScriptedCosts
) -> None:
    folder = tmp_path / "b"
    code, out, errors = run(capfd, *FAST, "--for", "cortex-a72", "--out", folder, "--json")
    assert (code, errors) == (0, [])
    document, manifest = json.loads(out), open_bundle(folder).manifest
    record = manifest.made_for
    assert record is not None
    jsonschema.validate(json.loads((folder / "manifest.json").read_text()), SCHEMA)
    assert document["made_for"] == json.loads(json.dumps(dataclasses.asdict(record)))
    assert (record.target, record.kind, record.cpu, record.doubts) == (
        "cortex-a72", "instructions", "Cortex-A72", ("the wind blew",),
    )  # fmt: skip
    assert manifest.passes == ("flatten_order",)
    assert {each.sha256 for each in record.trials if each.chosen} == {each.sha256 for each in manifest.artifacts}
    kept = [each.float_layers for each in record.trials if each.float_layers]
    assert kept[:2] == [("conv1", "conv2"), ("fc1", "fc2", "fc3")]
    assert all(path.is_file() is False for group in scripted.screened for path in group)


@pytest.mark.usefixtures("stored_conversions", "few_passes", "scripted")
def test_a_file_that_is_not_the_one_that_was_measured_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = made_for.chosen

    def other(*words: Any) -> Any:
        orders, record = real(*words)
        trials = tuple(dataclasses.replace(each, sha256="0" * 64) for each in record.trials)
        return orders, dataclasses.replace(record, trials=trials)

    monkeypatch.setattr(choose, "FASTER", 1)
    monkeypatch.setattr(made_for, "chosen", other)
    code, out, errors = run(capfd, *FAST, "--for", "x86", "--out", tmp_path / "b")
    assert (code, out) == (1, "")
    assert errors == ["edgecnn: error: lenet_float32.tflite came out otherwise than when it was measured; run again"]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("stored_conversions", "few_passes")
def test_an_interruption_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], scripted: ScriptedCosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_paths: object) -> None:
        raise KeyboardInterrupt

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    monkeypatch.setattr(scripted, "screen", interrupt)
    assert run(capfd, *FAST, "--for", "cortex-a72", "--out", tmp_path / "b")[0] == 130
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert not list(work.iterdir())


@pytest.mark.usefixtures("stored_conversions", "few_passes")
def test_for_an_emulated_cortex_a72_from_one_end_to_the_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    monkeypatch.setattr(choose, "FASTER", 0)  # layers in float32 would be as many files again
    monkeypatch.setattr(made_for, "COUNTS", 1)
    code, out, errors = run(capfd, *FAST, "--for", "cortex-a72", "--out", tmp_path / "b")
    assert (code, errors) == (0, [])
    record = Manifest.load(tmp_path / "b").made_for
    assert record is not None
    assert (record.cpu, record.engine, len(record.trials)) == ("Cortex-A72", "litert 2.1.6", 4)
    costs = [each.runs[0] for each in record.trials]
    assert 100_000 < min(costs) <= max(costs) < 2_000_000
    assert [each.screened[0] for each in record.trials] == pytest.approx(costs, rel=0.01)
    assert "made for cortex-a72: instructions an image on Cortex-A72 with litert 2.1.6; 4 candidates" in out
    assert out.splitlines()[-1].startswith("static_w8a8 with ")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let anything that takes long fail."""

    def work(*words: Any, **more: Any) -> None:
        raise AssertionError("long work began")

    monkeypatch.setattr(registry, "load", work)
    monkeypatch.setattr(tflite, "convert_float", work)


VALID = "(valid: x86, cortex-a53, cortex-a72, cortex-a76, ssh://[USER@]HOST[:PORT], auto)"


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--for", "cortex-a75"], f"--for 'cortex-a75' is no target {VALID}"),
        (["--for", ""], f"--for '' is no target {VALID}"),
        (["--for", "ssh://a b"], "'ssh://a b' is no address (valid: ssh://[USER@]HOST[:PORT])"),
        (["--for", "x86", "--recipe", "float16"], "--for chooses among files of static_w8a8, not of float16"),
        (["--for", "auto", "--passes", "none"], "--for chooses by cost what --passes chooses otherwise; give one"),
        (
            ["--for", "auto", "--float-layers", "conv1"],
            "--for chooses by cost what --float-layers chooses otherwise; give",
        ),
        (["--for", "auto", "--max-drop", "0.3"], "--for chooses by cost what --max-drop chooses otherwise; give one"),
        (["--for", "auto", "--format", "onnx"], "--for chooses among TFLite files; add tflite to --format"),
        (["--for", "auto", "--qat"], "--for changes the graph, and weights trained by --qat are for one graph; choose"),
        (["--for", "auto", "--out", "."], ". already exists; choose another place or pass --force to replace it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_before_any_long_work(
    words: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, errors = run(capfd, "--model", "lenet", "--data", "digits", *words)
    assert (code, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"edgecnn: error: {message}")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_work")
def test_x86_is_refused_on_another_machine(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    code, _, errors = run(capfd, *FAST, "--for", "x86")
    assert (code, errors) == (
        2, ["edgecnn: error: --for x86 is timed on this machine, which is aarch64; give --for auto"],
    )  # fmt: skip


@pytest.mark.usefixtures("no_work")
def test_without_an_emulator_nothing_is_begun(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *more: None if "qemu" in name else which(name, *more))
    code, _, errors = run(capfd, *FAST, "--for", "cortex-a53")
    assert code == 2
    assert errors == ["edgecnn: error: qemu-aarch64 is not installed; on Debian 12: apt-get install qemu-user"]


@pytest.mark.usefixtures("no_work")
def test_a_board_that_does_not_answer_is_refused_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(self: object) -> None:
        raise LinkError("ssh://pi: no answer (timed out); is the board on, and in this network?")

    monkeypatch.setattr(board.Board, "open", unreachable)
    code, _, errors = run(capfd, *FAST, "--for", "ssh://pi")
    assert (code, errors) == (
        2, ["edgecnn: error: ssh://pi: no answer (timed out); is the board on, and in this network?"],
    )  # fmt: skip


def test_a_board_keeps_its_environment_until_the_decision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def bench_on(target: str, order: Any, say: Any, install: Any) -> Any:
        asked.append((target, order.paths, order.runtimes, order.settings.runs, install.keep))
        return benches.session()

    monkeypatch.setattr(made_for, "bench_on", bench_on)
    measure = made_for.Timed("ssh://pi", lambda line: None)
    measure.screen([tmp_path])
    measure.decide([tmp_path])
    assert asked == [
        ("ssh://pi", (tmp_path,), ("litert",), 3, True), ("ssh://pi", (tmp_path,), ("litert",), 9, False),
    ]  # fmt: skip


def test_the_table_has_the_cheapest_first_and_offers_the_float_file() -> None:
    def trial(recipe: str, cost: float, **more: Any) -> Trial:
        return Trial(recipe, ("flatten_order",), (), 1000, "0" * 64, (cost,), (cost,), **more)

    failed = Trial("static_w8a8", (), (), None, None, failure="is no good")
    trials = (
        trial("static_w8a8", 1200.0, chosen=True), failed, trial("float32", 1000.0, chosen=True),
        dataclasses.replace(trial("static_w8a8", 1100.0), float_layers=("conv1", "fc3")),
    )  # fmt: skip
    record = MadeFor(
        "cortex-a53", "instructions", "Cortex-A53", "litert 2", trials, "float32 is the best", True, ("x",)
    )
    lines = made_for.text(record, "lenet_float32.tflite").splitlines()
    assert (
        lines[0]
        == "made for cortex-a53: instructions an image on Cortex-A53 with litert 2; 4 candidates, the best by turns"
    )
    assert [" ".join(line.split()) for line in lines[4:7]] == [
        "float32 flatten_order - 1,000 1,000 1.000 yes",
        "static_w8a8 flatten_order conv1 fc3 1,000 1,100 1.100",
        "static_w8a8 flatten_order - 1,000 1,200 1.200 yes",
    ]
    assert lines[-3:] == [
        "left out: static_w8a8 : is no good", "doubt: x", "float32 is the best; use lenet_float32.tflite",
    ]  # fmt: skip
