"""Feeds bad files to the code that a board runs: ``python -m benchmarks.fuzz [FILE.json [BUNDLE...] [--cases 20000]]``.

Without a BUNDLE the cases are images, decoded as ``edgecnn classify`` does; with some, they are mutants of those
bundles (their TFLite files, manifests and labels), opened and run as ``edgecnn classify`` does: verified, tried out in
a child with its limits, then opened in the main process. Case n of a seed is always the same. A process plays the main
one, and is watched from outside: it must never die, hang, or hold more than 512 MB. FILE.json holds what came of the
cases so far, and the same command goes on from there; mutants that ended the child, or raised what nobody foresaw,
are kept in the folder beside it. The child is forked here instead of started, which is all that differs from use.
``--record FILE.json...`` commits what runs gave; without any word that is shown.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import mutations
from edgecnn.errors import BadFileError, EdgeCNNError
from edgecnn.report.table import table
from edgecnn.runtime import picture, proving
from edgecnn.runtime.bundle import Bundle, open_bundle
from edgecnn.runtime.classify import predict
from edgecnn.runtime.files import sha256, write_bytes
from edgecnn.runtime.manifest import MANIFEST, Artifact, FileEntry, Image

MEMORY = 512 << 20  # bytes that the main process may hold
PATIENCE = 150.0  # seconds for one case, the child's 60 among them
IMAGE = (32, 32, 3)
RESULTS = Path(__file__).parent / "results" / "fuzz.json"
STAGES = (
    "loaded", "refused when opened", "refused by the verifier", "refused in the child", "ended the child",
    "harmed main",
)  # fmt: skip
RESTART = 500  # cases of one main process

Case = Callable[[int], tuple[str, bytes]]  # what came of case n, in words, and its mutant


class Bundles:
    """Cases made of bundles; each is cut down to its TFLite files and labels first."""

    def __init__(self, folders: Sequence[Path], seed: int, work: Path) -> None:
        self._seed, self._folder = seed, work / "bundle"
        self._names: list[str] = []
        self._goods: list[tuple[Bundle, Artifact, mutations.TFLite]] = []
        for folder in folders:
            bundle = open_bundle(folder)
            for artifact in bundle.manifest.artifacts:
                if artifact.format == "tflite":
                    self._names.append(artifact.file)
                    self._goods.append((bundle, artifact, mutations.TFLite((folder / artifact.file).read_bytes())))

    def run(self, index: int) -> tuple[str, bytes]:
        """Make case ``index`` on disk, and go through it."""
        dice = random.Random(f"{self._seed}:bundle:{index}")
        weights = [1 / (100_000 + len(good.content)) for _, _, good in self._goods]  # large files take long
        bundle, artifact, good = dice.choices(self._goods, weights)[0]
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        labels = (bundle.path / bundle.manifest.labels).read_bytes()
        content, way = good.content, dice.random()
        if way < 0.75:
            content = good.mutant(dice)
        elif way < 0.8:
            labels = mutations.shuffled(labels, dice)
        (self._folder / artifact.file).write_bytes(content)
        named = self._folder / bundle.manifest.labels
        named.write_bytes(labels)
        listed = dataclasses.replace(artifact, bytes=max(1, len(content)), sha256=sha256(self._folder / artifact.file))
        manifest = dataclasses.replace(
            bundle.manifest, recipe=artifact.recipe, artifacts=(listed,), sample=None, calibration=None,
            files=(FileEntry(named.name, max(1, len(labels)), sha256(named)),),
        )  # fmt: skip
        manifest.save(self._folder)
        mutant = content
        if way >= 0.8:
            path = self._folder / MANIFEST
            mutant = mutations.manifest(json.loads(path.read_text()), dice)
            path.write_bytes(mutant)
        return self._outcome(), mutant

    def _outcome(self) -> str:
        try:
            bundle = open_bundle(self._folder)
            with bundle.open(bundle.artifact()) as runner:
                predict(runner, np.full((1, *runner.input.image), 128, np.uint8))
        except EdgeCNNError as error:
            return _reason(str(error), self._folder, self._names)
        except Exception as error:  # what a user would be shown as an internal error
            return _unforeseen(error)
        return "loaded"


class Pictures:
    """Cases made of small images of every kind."""

    def __init__(self, seed: int, work: Path) -> None:
        self._seed, self._work, self._goods = seed, work, mutations.pictures()

    def run(self, index: int) -> tuple[str, bytes]:
        """Make case ``index`` on disk, and decode it."""
        dice = random.Random(f"{self._seed}:picture:{index}")
        name = dice.choice(sorted(self._goods))
        mutant = mutations.picture(name, self._goods[name], dice)
        path = self._work / "image"
        path.write_bytes(mutant)
        try:
            with picture.quiet():
                picture.decode(path, IMAGE)
        except EdgeCNNError as error:
            return _reason(str(error), self._work, ["image"]), mutant
        except Exception as error:  # as above
            return _unforeseen(error), mutant
        return "loaded", mutant


def forked_child(path: Path, artifact: Artifact, image: Image) -> None:
    """proving.run_child with a fork instead of a start, which takes a hundredth of the time."""
    mine, other = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        _be_child(other, path, artifact, image)
    other.close()
    try:
        if not mine.poll(proving.SECONDS):
            os.kill(child, signal.SIGKILL)
            raise BadFileError(f"{path}: CHILD took too long")
        try:
            error = mine.recv()
        except EOFError:
            error = None
    finally:
        _, status = os.waitpid(child, 0)
        mine.close()
    if os.WIFSIGNALED(status):
        raise BadFileError(f"{path}: CHILD ended in {signal.Signals(os.WTERMSIG(status)).name}")
    if os.WEXITSTATUS(status):
        raise BadFileError(f"{path}: CHILD failed")
    if error is not None:
        raise BadFileError(f"{path}: child: {error}")


def _be_child(answer: Any, path: Path, artifact: Artifact, image: Image) -> None:
    try:
        _silence()
        memory = proving.MEMORY.get(artifact.format, proving.MEMORY_OF_OTHERS)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        answer.send(proving.try_out(path, artifact, image))
        os._exit(0)
    except BaseException:
        os._exit(9)


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _reason(message: str, folder: Path, names: Sequence[str]) -> str:
    """A message without what differs from case to case."""
    for name in names:
        message = message.replace(f"{folder / name}: ", "").replace(str(folder / name), "file").replace(name, "file")
    message = message.replace(f"{folder}/", "").replace("/", " ").rpartition(" is damaged: ")[2]
    message = message.removesuffix("; copy it again")
    message = re.sub(r"'.*?'|\"[^\"]*\"", "'...'", message)
    message = re.sub(r"\[[^\]]*\]|\([^)]*\)", "[...]", message)
    return re.sub(r"-?\d[\d.e+,x-]*", "#", message)[:160]


def _unforeseen(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"MAIN raised {type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:60]}"


def _be_main(cases: Case, start: int, end: int, said: Any) -> None:
    """The process that is watched: tells of each case before and after."""
    _silence()
    proving.run_child = forked_child
    os.environ[proving.VARIABLE] = os.devnull  # where nothing can be remembered
    for index in range(start, end):
        said.send((index, None, b"", 0))
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts over
        outcome, mutant = cases(index)
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        kept = mutant if _is_worth_keeping(outcome) else b""
        said.send((index, outcome, kept, int(peak) << 10))
    os._exit(0)


def _is_worth_keeping(outcome: str) -> bool:
    return "CHILD" in outcome or "MAIN" in outcome


def fuzz(cases: Case, state: dict[str, Any], count: int, kept: Path, save: Callable[[], None]) -> None:
    """Go through the cases up to ``count``, from where ``state`` says, and enter what came of them."""
    outcomes = Counter(state["outcomes"])
    while state["next"] < count:
        mine, other = Pipe(duplex=False)
        start, end = state["next"], min(count, state["next"] + RESTART)
        main = os.fork()
        if main == 0:
            try:
                _be_main(cases, start, end, other)
            finally:
                os._exit(9)
        other.close()
        failure, running = None, start
        while True:
            if not select.select([mine], [], [], PATIENCE)[0]:
                os.kill(main, signal.SIGKILL)
                failure = "MAIN hung"
                break
            try:
                index, outcome, mutant, peak = mine.recv()
            except EOFError:
                break
            running = index
            if outcome is None:
                continue
            outcomes[outcome] += 1
            state["next"], state["peak_bytes"] = index + 1, max(state["peak_bytes"], peak)
            if peak > MEMORY:
                outcomes["MAIN held too much memory"] += 1
            if mutant:
                write_bytes(kept / f"{index}.bin", mutant)
        _, status = os.waitpid(main, 0)
        mine.close()
        if failure is None and status:
            failure = f"MAIN died of {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "MAIN failed"
        if failure is not None:
            outcomes[failure] += 1
            state["bad"].append([running, failure])
            state["next"] = running + 1
        state["outcomes"] = dict(outcomes.most_common())
        save()


def stage(outcome: str, images: bool) -> str:
    """Where a case ended, of STAGES."""
    for start, name in (("loaded", "loaded"), ("child: ", "refused in the child"), ("CHILD", "ended the child")):
        if outcome.startswith(start):
            return name
    if outcome.startswith("MAIN"):
        return "harmed main"
    before = (
        images or outcome.startswith(("manifest.json", "labels", "tflite is", "float# is")) or "has # bytes" in outcome
    )
    return "refused when opened" if before else "refused by the verifier"


def record(paths: Sequence[Path]) -> None:
    """Write RESULTS from files of runs."""
    runs = []
    for path in paths:
        state = json.loads(path.read_text())
        stages: Counter[str] = Counter()
        for outcome, times in state["outcomes"].items():
            stages[stage(outcome, not state["bundles"])] += times
        runs.append(
            {name: state[name] for name in ("seed", "bundles", "next", "peak_bytes")} | {"stages": dict(stages)}
        )
    write_bytes(RESULTS, (json.dumps(runs, indent=1) + "\n").encode())


def text() -> str:
    """The table of RESULTS."""
    rows = []
    for run in json.loads(RESULTS.read_text()):
        counts = [f"{run['stages'].get(name, 0):,}" for name in STAGES]
        what = f"{len(run['bundles'])} bundles" if run["bundles"] else "images"
        rows.append([what, str(run["seed"]), f"{run['next']:,}", *counts, f"{run['peak_bytes'] / 1e6:.0f}"])
    return table(["mutants of", "seed", "cases", *STAGES, "peak MB"], rows, "lrrrrrrrrr")


def main(words: Sequence[str] | None = None) -> int:
    """The command line: 0 when the main process came through all cases."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", nargs="+", type=Path, default=[])
    asked = parser.parse_args(words)
    if asked.record:
        record(asked.record)
    if asked.file is None:
        print(text())
        return 0
    fresh = {
        "seed": asked.seed, "bundles": [each.name for each in asked.bundles],
        "next": 0, "peak_bytes": 0, "seconds": 0.0, "outcomes": {}, "bad": [],
    }  # fmt: skip
    state = json.loads(asked.file.read_text()) if asked.file.exists() else fresh
    if any(state[name] != fresh[name] for name in ("seed", "bundles")):
        parser.error(f"{asked.file} is of other bundles or another seed; name another file")
    began, spent = time.monotonic(), state["seconds"]

    def save() -> None:
        state["seconds"] = round(spent + time.monotonic() - began, 1)
        write_bytes(asked.file, (json.dumps(state, indent=1) + "\n").encode())
        print(f"{state['next']:,} cases, peak {state['peak_bytes'] >> 20} MB, {state['seconds']:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as work:
        kind = Bundles(asked.bundles, asked.seed, Path(work)) if asked.bundles else Pictures(asked.seed, Path(work))
        fuzz(kind.run, state, asked.cases, asked.file.with_suffix(""), save)
    for outcome, times in state["outcomes"].items():
        print(f"{times:7,}  {outcome}")
    return 1 if any(outcome.startswith("MAIN") for outcome in state["outcomes"]) else 0


if __name__ == "__main__":
    sys.exit(main())
