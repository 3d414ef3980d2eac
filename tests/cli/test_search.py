"""``edgecnn search`` on a few small images: what comes out, what it survives, and what is refused."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from edgecnn.cli import search as verb
from edgecnn.cli import search_worker
from edgecnn.cli.main import main
from edgecnn.errors import UsageError
from edgecnn.export.drafts import Order
from edgecnn.export.source import Source
from edgecnn.models import cost
from edgecnn.runtime.bundle import open_bundle
from edgecnn.search import prices, space
from edgecnn.search.asked import Asked
from edgecnn.search.lost import WORKER
from edgecnn.search.space import Choice
from edgecnn.search.study import open_study
from tests.measure.scripted_costs import ScriptedCosts
from tests.search.small import small_space as small_space
from tests.search.small import words as words
from tests.train.interrupted import ROOT, child


def done(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[dict[str, Any], str]:
    """The document of a search that comes to its end, and what it said meanwhile."""
    code = main([*map(str, words), "--json"])
    out, err = capfd.readouterr()
    assert code == 0, err
    return json.loads(out), err


def refused(capfd: pytest.CaptureFixture[str], *words: object, code: int = 2) -> str:
    """The last line of a command that was refused, and before which nothing is printed."""
    assert main(list(map(str, words))) == code
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1 or code != 2, err
    assert lines[-1].startswith("edgecnn: error: ")
    return lines[-1].removeprefix("edgecnn: error: ")


def by_bytes(path: Path) -> float:
    return path.stat().st_size / 1000


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> ScriptedCosts:
    """Files are as large as the work they stand for, and no models; times are what they weigh."""

    def sketch(order: Order, source: Source) -> Any:
        return SimpleNamespace(content=bytes(cost.macs(source.model, source.arguments) // 100))

    costs = ScriptedCosts(by_bytes)
    monkeypatch.setattr(prices, "make", sketch)
    for module in (search_worker, verb):
        monkeypatch.setattr(module, "timer", lambda target, say: costs)
    return costs


def trials_in(out: Path, words: list[str]) -> list[FrozenTrial]:
    """The trials of a journal that these words began."""
    lines = (out / verb.JOURNAL).read_text().splitlines()
    asked = next(json.loads(line)["user_attr"]["asked"] for line in lines if '"asked"' in line)
    return open_study(str(out / verb.JOURNAL), Asked.from_json(asked)).get_trials()


@pytest.mark.usefixtures("small_space", "sketched")
def test_the_front_of_a_search_is_a_document_and_a_page(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    document, err = done(capfd, *words, "--objective", "bytes,accuracy,latency", "--trials", 4, "--out", out)
    assert document["asked"]["objectives"] == ["accuracy", "latency", "bytes"]
    assert document["trials"] == {"trained": 4, "stopped": 0, "dear": 0, "failed": 0, "running": 0, "lost": 0}
    front = document["front"]
    assert front
    assert [each["accuracy"] for each in front] == sorted((each["accuracy"] for each in front), reverse=True)
    for one, other in itertools.permutations(front, 2):
        assert other["accuracy"] < one["accuracy"] or any(other[name] >= one[name] for name in ("bytes", "latency"))
    assert re.search(r"^[1-3] of 4 trials: [1-3] trained; about \d+ (s|min) left$", err, re.M), "progress"
    assert err.count("trial  accuracy") >= 1, "the front is said as it changes"
    page = (out / verb.PAGE).read_text()
    for each in front:
        assert each["design"] in page
        for line in each["commands"].values():
            assert line in page
            assert "--image-size 16x16x1" in line
    assert "<svg" in page
    assert not re.search(r"(src|href)=.?http", page)
    assert sorted(os.listdir(out)) == [".journal.log.lock", verb.PAGE, verb.JOURNAL]


@pytest.mark.usefixtures("small_space")
def test_a_design_that_was_found_is_trained_pruned_and_quantized(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(space.SPACE, "kept", Choice((0.5,)))
    monkeypatch.setattr("edgecnn.cli.prune.timer", lambda say: ScriptedCosts(by_bytes))
    monkeypatch.chdir(tmp_path)
    document, _ = done(capfd, *words, "--trials", 1)
    found = document["front"][0]
    assert found["kept"] == 0.5
    quick = ["--epochs", "1", "--batch-size", "16"]
    for line in found["commands"].values():
        assert main([*shlex.split(line)[1:], *quick]) == 0
    train, prune = (shlex.split(line) for line in found["commands"].values())
    about = train[2 : train.index("--epochs")]
    weights = [prune[prune.index("--out") + 1] + "/weights.safetensors", train[train.index("--out") + 1]]
    assert main(["quantize", *about, "--weights", weights[0], "--format", "tflite", "--out", "bundle"]) == 0
    bundle = open_bundle(Path("bundle"))
    assert bundle.manifest.model.macs == pytest.approx(found["macs"], rel=0.1)
    assert found["macs"] <= 0.5 * cost.macs(*whole(found["design"]))


def whole(design: str) -> tuple[Any, Any]:
    from edgecnn import models

    arguments = models.ModelArguments(3, 1, (16, 16))
    return models.create(design, arguments), arguments


@pytest.mark.usefixtures("small_space", "one_thread")
def test_a_search_that_goes_on_ends_as_one_that_was_never_stopped(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    parts, one = tmp_path / "parts", tmp_path / "one"
    done(capfd, *words, "--trials", 1, "--out", parts)
    assert "already exists; choose another place or pass --force" in refused(capfd, *words, "--out", parts)
    other = [*words, "--seed", 1, "--out", parts, "--resume"]
    assert "its seed is 0, this run's is 1" in refused(capfd, *other)
    larger = [*words, "--image-size", "20x20x1", "--trials", 1, "--out", parts, "--resume"]
    assert "its image is [16, 16, 1], this run's is [20, 20, 1]" in refused(capfd, *larger)
    resumed, _ = done(capfd, *words, "--trials", 3, "--out", parts, "--resume")
    straight, _ = done(capfd, *words, "--trials", 3, "--out", one)
    assert resumed["front"] == straight["front"]
    assert done(capfd, *words, "--trials", 1, "--out", one, "--force")[0]["trials"]["trained"] == 1


@pytest.mark.usefixtures("small_space", "sketched")
def test_what_is_above_a_bound_is_not_trained_and_a_search_that_trains_nothing_has_failed(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for bound, most in (("macs", 1000), ("bytes", 10), ("latency", 0.0001)):
        out = tmp_path / bound
        bounded = [*words, f"--max-{bound}", str(most), "--trials", "2", "--out", str(out)]
        assert main([*bounded, "--json"]) == 1
        written, err = capfd.readouterr()
        document = json.loads(written)
        why = "no design came to the end of its training: 2 of 2 trials: 2 over a bound; give wider bounds"
        assert err.splitlines()[-1] == f"edgecnn: error: {why}"
        assert document["trials"]["dear"] == 2
        assert document["front"] == []
        ends = [trial.user_attrs["why"] for trial in trials_in(out, words)]
        assert all(re.fullmatch(rf"{bound} [\d,.e+-]+ is more than {most:,.4g}", end) for end in ends), ends
        assert "No trial was trained to the end." in (out / verb.PAGE).read_text()
        assert main([*bounded, "--resume"]) == 1
        printed = capfd.readouterr().out
        assert printed.startswith("No trial was trained to the end.\n\n2 of 2 trials: 2 over a bound; ")


@pytest.mark.usefixtures("small_space")
def test_a_target_that_times_nothing_ends_the_search_and_fails_no_trial(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str], sketched: ScriptedCosts
) -> None:
    def gone(path: Path) -> float:
        raise UsageError("board: no python3 there")

    words = [*words, "--objective", "accuracy,latency", "--trials", "1", "--out", str(tmp_path / "out")]
    for sketched.cost in (gone, lambda path: "no such engine" if path.stem == "resnet8" else 1.0):
        resume = ["--resume"] if (tmp_path / "out").exists() else []
        said = refused(capfd, *words, *resume, code=1)
        assert said in ("board: no python3 there", "resnet8's file could not be timed: no such engine")
    sketched.cost = by_bytes
    document, _ = done(capfd, *words, "--resume")
    assert document["trials"] == {"trained": 1, "stopped": 0, "dear": 0, "failed": 0, "running": 0, "lost": 2}


@pytest.mark.usefixtures("small_space")
def test_a_file_that_cannot_be_timed_is_a_failed_trial(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str], sketched: ScriptedCosts
) -> None:
    sketched.cost = lambda path: 1.0 if path.stem == "resnet8" else "died"
    words = [*words, "--objective", "accuracy,latency", "--out", str(tmp_path / "out")]
    said = refused(capfd, *words, "--trials", 1, code=1)
    assert said == "all 1 trials failed, the last because: a static_w8a8 file could not be timed: died"
    sketched.cost = by_bytes
    document, err = done(capfd, *words, "--trials", 2, "--resume")
    assert "trial 0 failed: a static_w8a8 file could not be timed: died\n" in err
    assert (document["trials"]["failed"], document["trials"]["trained"]) == (1, 1)


def running(lines: Iterator[str]) -> None:
    """Wait until it is said that a trial runs."""
    seen = []
    for line in lines:
        seen.append(line)
        if " running" in line:
            return
    pytest.fail("".join(seen))


def children(process: int) -> set[int]:
    """The processes that one started."""
    return {int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()}


def test_of_two_workers_one_is_killed_and_no_more_than_its_trial_is_lost(tmp_path: Path, words: list[str]) -> None:
    out = tmp_path / "out"
    with child(*words, "--workers", "2", "--trials", "3", "--out", str(out), "--json") as process:
        assert process.stderr is not None
        running(iter(process.stderr))
        begun = next(trial for trial in trials_in(out, words) if WORKER in trial.user_attrs)
        os.kill(int(begun.user_attrs[WORKER].split(":")[2]), signal.SIGKILL)
        printed, err = process.communicate()
    assert process.returncode == 0, err
    assert re.search(r"^not every worker saw the end: worker [12]: killed by signal 9$", err, re.M), err
    document = json.loads(printed)
    assert sum(document["trials"][how] for how in ("trained", "stopped", "failed")) == 3
    assert document["trials"]["running"] == 0
    assert document["trials"]["lost"] <= 1
    finished = [trial.params for trial in trials_in(out, words) if trial.state == TrialState.COMPLETE]
    for trial in trials_in(out, words):
        # Of a trial that was killed while it was drawn, a part is known.
        assert any(trial.params.items() <= each.items() for each in finished)


@pytest.mark.parametrize("workers", [1, 2])
def test_control_c_leaves_no_process_and_a_journal_that_goes_on(tmp_path: Path, words: list[str], workers: int) -> None:
    out = tmp_path / "out"
    words = [*words, "--workers", str(workers), "--trials", "50", "--out", str(out)]
    with child(*words) as process:
        assert process.stderr is not None
        if workers == 1:
            next(line for line in process.stderr if "1 of 50 trials" in line)
        else:
            running(iter(process.stderr))
        started = children(process.pid)
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate()
    assert (process.returncode, printed) == (130, "")
    ending = r"^stopped; \d+ of 50 trials are in .*journal.log: go on with --resume\nedgecnn: interrupted$"
    assert re.search(ending, err, re.M), err
    assert len(started) == (0 if workers == 1 else workers)
    assert not any(Path(f"/proc/{each}").exists() for each in started)
    assert not [name for name in os.listdir(out) if name.startswith(".work")]
    left = [trial for trial in trials_in(out, words) if trial.state == TrialState.RUNNING]
    # What was begun in that moment and drew nothing yet is no loss.
    assert not any(trial.params for trial in left), left


DEAF_ONCE = """
import signal, sys
from edgecnn.cli import search_worker
def run(*arguments):
    try:
        signal.pause()
    except KeyboardInterrupt:
        signal.pause()
search_worker.run, search_worker.REPEAT = run, 0.1
sys.exit(search_worker.main())
"""


def test_a_worker_whose_interruption_was_swallowed_by_a_library_is_interrupted_again(tmp_path: Path) -> None:
    asked = Asked(("accuracy", "macs"), "digits").to_json()
    job = search_worker.Job(asked, str(tmp_path / verb.JOURNAL), 1, str(tmp_path), None, "refuse", "cpu")
    told = json.dumps(job.to_json()) + "\n"  # and then its standard input ends
    ended = subprocess.run([sys.executable, "-c", DEAF_ONCE], input=told, text=True, capture_output=True, cwd=ROOT)
    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--objective", "accuracy,size"], "unknown objective 'size'"),
        (["--objective", "bytes,macs"], "--objective 'bytes,macs' is no search"),
        (["--trials", "0"], "'--trials': 0 is not in the range x>=1"),
        (["--epochs", "1"], "'--epochs': 1 is not in the range x>=2"),
        (["--workers", "0"], "'--workers': 0 is not in the range x>=1"),
        (["--batch-size", "0"], "'--batch-size': 0 is not in the range x>=1"),
        (["--batch-size", "50"], "a batch of 50 is more than the 48 training images; give --batch-size 32"),
        (["--validation", "0"], "validation is 0.0, but a search chooses on held-out training images"),
        (["--validation", "0.001"], "of 60 training images is not one image"),
        (["--max-bytes", "0"], "--max-bytes is 0, but must be above 0"),
        (["--max-latency", "nan"], "--max-latency is nan, but must be above 0"),
        (["--precision", "float16"], "unknown precision 'float16'; did you mean 'bfloat16'?"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--seed", "-1"], "seed is -1, but must be 0 or more"),
        (["--data", "nowhere"], "unknown data set 'nowhere'"),
        (["--target", "here"], "--target 'here' is no target (valid: local, ssh://"),
        (["--target", "ssh://"], "'ssh://' is no address"),
        (["--target", "emulated:z80"], "unknown"),
        (["--target", "table:none.json"], "cannot read table none.json: No such file or directory; make one with"),
        (["--target", "ssh://127.0.0.1:1", "--objective", "accuracy,latency"], "127.0.0.1:1"),
        (["--storage", "redis://host"], "--storage redis://... is no storage (valid: a journal's path, sqlite://..."),
        (["--storage", ""], "--storage '' is no storage (valid: a journal's path, sqlite://..."),
        (["--storage", "sqlite://"], "--storage sqlite:// is lost when the search ends (valid: sqlite:///PATH)"),
        (["--storage", "mysql://u:p@host/d"], "--storage mysql://... shows a password to everyone on this machine"),
        (["--resume"], "nothing to resume: "),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    more: list[str], part: str, tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert part in refused(capfd, *words, "--out", tmp_path / "out", *more)
    assert not (tmp_path / "out" / verb.JOURNAL).exists()


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--trials", "35"], "--trials 35 designs make no table; give 36 or more"),
        (["--resume"], "--build-table searches nothing, so --resume would do nothing; leave that away"),
        (["--max-macs", "1e6", "--out", "out"], "so --max-macs, --out would do nothing"),
        (["--workers", "1", "--storage", "postgresql://host/db"], "so --workers, --storage would do nothing"),
    ],
)
def test_a_table_is_not_asked_to_search(
    more: list[str], part: str, tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert part in refused(capfd, *words, "--build-table", tmp_path / "new.json", *more)
    assert os.listdir(tmp_path) == ["images"]


def test_a_journal_that_is_none_is_refused(tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for content in ("no journal\n", '{"op_code": 99}\n', "[]\n"):
        (out / verb.JOURNAL).write_text(content)
        assert "holds no search that edgecnn can read" in refused(capfd, *words, "--out", out, "--resume")
    said = refused(capfd, *words, "--storage", out, "--out", tmp_path / "other")
    assert "Is a directory" in said


@pytest.mark.parametrize("content", ['{"precious": 1}', "my notes", "no journal\n"])
def test_another_file_is_no_storage_and_stays_as_it_is(
    content: str, tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "precious.json"
    path.write_text(content)
    assert "holds no search that edgecnn can read" in refused(capfd, *words, "--storage", path, "--out", tmp_path)
    assert path.read_text() == content


def test_what_is_not_in_a_storage_is_not_resumed(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for storage in (tmp_path / "typo.log", f"sqlite:///{tmp_path}/typo.db"):
        said = refused(capfd, *words, "--storage", storage, "--resume", "--out", tmp_path / "out")
        assert said.startswith(f"nothing to resume: there is no search in storage {storage}")
    assert not list(tmp_path.glob("typo.*"))


@pytest.mark.usefixtures("small_space", "sketched")
def test_the_page_of_another_search_is_not_replaced(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "out" / verb.PAGE
    page.parent.mkdir()
    page.write_text("mine")
    few = [*words, "--trials", "1", "--storage", tmp_path / "a.log", "--out", page.parent]
    assert f"{page} already exists" in refused(capfd, *few)
    assert not (tmp_path / "a.log").exists()  # nothing was begun
    assert page.read_text() == "mine"
    done(capfd, *few, "--force")
    done(capfd, *few)  # its own
    assert page.read_text() != "mine"


@pytest.mark.usefixtures("small_space", "sketched")
def test_a_table_is_built_and_searched_with(
    tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.json"
    built, err = done(capfd, *words, "--build-table", table, "--trials", 36)
    assert (built["table"], built["designs"], built["unit"]) == (str(table), 36, "microseconds")
    # Times are multiply-accumulates here, which prices of layers explain.
    assert built["median_error"] < 0.01
    assert "36 of 36: " in err
    assert "already exists" in refused(capfd, *words, "--build-table", table, "--trials", 36)
    with_table = [*words, "--objective", "accuracy,latency", "--target", f"table:{table}", "--out", tmp_path / "out"]
    document, _ = done(capfd, *with_table, "--trials", 2)
    found = document["front"][0]
    assert found["latency"] == pytest.approx(found["macs"] / cost.macs(*whole("resnet8")), rel=0.02)
    said = refused(capfd, *with_table, "--image-size", "20x20x1", "--force")
    assert (
        said == "the table is for images of 16x16x1, the data set's are 20x20x1; make one for them with --build-table"
    )
    said = refused(capfd, *words, "--target", f"table:{table}", "--build-table", tmp_path / "b.json", "--trials", 36)
    assert "--build-table measures, and 'table:" in said
    text = table.read_text()
    for changed in (text[:-20], text.replace("design:", "own.py:"), text.replace('"cost": ', '"cost": -'), "[]"):
        table.write_text(changed)
        assert str(table) in refused(capfd, *with_table, "--resume")


@pytest.mark.usefixtures("small_space")
def test_a_search_that_is_running_is_joined_and_not_begun_anew(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    started = [*words, "--trials", "1", "--out", str(out)]
    before = search_worker.run
    said: list[str] = []

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(verb, "run", before)
        capfd.readouterr()
        said.append(refused(capfd, *started, "--force"))
        assert main([*started, "--resume"]) == 0
        before(*arguments)

    monkeypatch.setattr(verb, "run", meanwhile)
    assert main(started) == 0
    assert said == [f"a search is still running in {out}; join it with --resume, or choose another --out"]
    assert main([*started, "--force"]) == 0, "it has ended"
