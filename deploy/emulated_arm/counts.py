"""Instructions of many files on an emulated CPU, quickly: counted, and not compared with this machine's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from edgecnn.deploy.emulated_arm.cache import Say
from edgecnn.deploy.emulated_arm.cpus import CPU, find
from edgecnn.deploy.emulated_arm.emulator import Emulator, emulator_for
from edgecnn.deploy.emulated_arm.together import Poll, together
from edgecnn.errors import CheckFailedError

PATIENCE = 600.0  # seconds for an answer


def instructions_of(
    target: str, paths: Sequence[Path], say: Say, make: Callable[[CPU, Say], Emulator] = emulator_for
) -> list[int | str]:
    """For each .tflite file the instructions of one image, counted once, or why it has none.

    ``target`` is one like ``emulated:cortex-a72``. Raises what emulator_for raises.
    """
    emulator = make(find(target), say)
    job = partial(count_all, [str(path) for path in paths], emulator)
    counts: list[int | str] = together([job])[0]
    return counts


def count_all(files: Sequence[str], emulator: Emulator, poll: Poll) -> list[int | str]:
    """The same; all in one process, and a new one after a crash."""
    results: list[int | str] = []
    while len(results) < len(files):
        with emulator.counted() as worker:
            for file in files[len(results) :]:
                try:
                    answer = worker.ask({"do": "count", "file": file}, PATIENCE, poll)
                except CheckFailedError as error:
                    results.append(str(error).removeprefix(f"{file} "))
                    break
                results.append(answer["instructions"])
    return results
