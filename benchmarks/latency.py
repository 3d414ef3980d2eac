"""Times TFLite files against each other: ``python -m benchmarks.latency FILE... [--rounds 20] [--json]``.

Every file stays open in a process of its own, and the processes take turns: A B C, A B C, ... So whatever else slows
the machine for a while slows all of them, and the ratio of two files, taken round by round, is steadier than either
time. Where the CPU has Intel AMX, every file is timed twice: with AMX withheld, as edgecnn runs it, and allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import BadFileError, EdgeCNNError, UsageError
from edgecnn.report.table import table
from edgecnn.runtime import amx
from edgecnn.runtime.litert import AMX_VARIABLE, LiteRTRunner
from edgecnn.runtime.preprocess import prepare

WARM_UP = 0.5  # seconds before the first round
TURN = 0.05  # seconds that one file has in one round
FIRST = 0.002  # seconds of each turn that are not counted: other files were in the caches
RESAMPLES = 4000
HEADERS = ("file", "engine", "us per image", "half of the rounds", "ratio", "95 % interval")


@dataclass(frozen=True)
class Latency:
    """Microseconds per image that ``run`` of a file's Runner takes: one thread, one image at a time.

    ``turns`` holds the median of every round, ``microseconds`` their median, ``low`` and ``high`` their quartiles.
    ``ratio`` is to the first file as edgecnn runs it, with a 95 % interval by resampling the rounds. That says how
    well this pair of processes was measured; the same file in two processes can differ by a per cent or two.
    """

    file: str
    engine: str
    microseconds: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    turns: list[float]


def measure(paths: Sequence[Path], rounds: int = 20) -> list[Latency]:
    """Time the files in ``rounds`` rounds; in the order of ``paths``, AMX withheld before allowed.

    Raises UsageError for no file or less than 2 rounds, BadFileError for a file that cannot be run.
    """
    if rounds < 2 or not paths:
        raise UsageError(f"{len(paths)} files in {rounds} rounds is no measurement (valid: 1 file or more, 2 rounds)")
    settings = ("0", "1") if amx.supported() else ("0",)
    with ExitStack() as stack:
        children = [stack.enter_context(_child(path, setting)) for path in paths for setting in settings]
        turns = np.array([[_answer(path, pipe, "your turn") for path, _, pipe in children] for _ in range(rounds)])
    picks = np.random.default_rng(0).integers(0, rounds, (RESAMPLES, rounds))
    results = []
    for (path, engine, _), mine in zip(children, turns.T, strict=True):
        low, middle, high = np.percentile(mine, (25, 50, 75)).tolist()
        ratios = mine / turns[:, 0]
        first, last = np.percentile(np.median(ratios[picks], axis=1), (2.5, 97.5)).tolist()
        ratio = float(np.median(ratios))
        results.append(Latency(str(path), engine, middle, low, high, ratio, first, last, mine.tolist()))
    return results


@contextmanager
def _child(path: Path, setting: str) -> Iterator[tuple[Path, str, Connection]]:
    """A process that has the file open, warm: its path, its engine, and the pipe to it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(path, setting, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield path, _answer(path, ours), ours
    finally:
        ours.close()
        process.join()


def _answer(path: Path, pipe: Connection, message: str = "") -> Any:
    try:
        if message:
            pipe.send(message)
        answer = pipe.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise BadFileError(f"{path} ended the process that ran it; it is damaged or not for this engine") from error
    if isinstance(answer, EdgeCNNError):
        raise answer
    return answer


def _serve(path: Path, setting: str, pipe: Connection) -> None:
    """In the child: open the file, warm up, say the engine's name, then answer every message with a time."""
    os.environ[AMX_VARIABLE] = setting
    try:
        if not path.is_file():
            raise BadFileError(f"{path} is not a file; give the path of a .tflite file")
        with LiteRTRunner(path, None, None, 1) as runner:
            image = np.random.default_rng(0).integers(0, 256, (1, *runner.input.image)).astype(np.uint8)
            tensor = prepare(image, runner.input)
            _run_for(WARM_UP, runner, tensor)
            pipe.send(runner.engine)
            while pipe.recv():
                _run_for(FIRST, runner, tensor)
                pipe.send(float(np.median(_run_for(TURN, runner, tensor))) / 1000)
    except EdgeCNNError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return  # the parent has what it wanted, or is gone


def _run_for(seconds: float, runner: LiteRTRunner, tensor: np.ndarray) -> list[int]:
    """Nanoseconds of every run that begins within the time, at least one."""
    times: list[int] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while not times or time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        runner.run(tensor)
        times.append(time.perf_counter_ns() - start)
    return times


def main(words: list[str] | None = None) -> int:
    """Print the measurement as a table or as JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description="Time TFLite files by turns.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    try:
        results = measure(options.files, options.rounds)
    except EdgeCNNError as error:
        print(f"latency: error: {error}", file=sys.stderr)
        return error.exit_code
    rows = [
        (each.file, each.engine, f"{each.microseconds:.1f}", f"{each.low:.1f} to {each.high:.1f}",
         f"{each.ratio:.3f}", f"{each.ratio_low:.3f} to {each.ratio_high:.3f}")
        for each in results
    ]  # fmt: skip
    document = {"rounds": options.rounds, "results": [asdict(each) for each in results]}
    print(json.dumps(document, indent=2) if options.json else table(HEADERS, rows, "llrlrl"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
