"""The command line in a process of its own, to be interrupted or killed while it trains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import edgecnn

ROOT = Path(edgecnn.__file__).parent.parent
# A shell's background job starts with Ctrl-C ignored, and hands that on.
CHILD = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgecnn.cli.main import entry
entry()
"""


@contextmanager
def child(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process with one thread."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *words],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def first_epoch(process: subprocess.Popen[str]) -> None:
    """Wait for the line that follows the first checkpoint."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        if line.startswith("epoch 1/"):
            return
        seen.append(line)
    pytest.fail("".join(seen))
