"""The parent's end of a measured process: asks, waits for so long, and says in one line how it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import edgecnn
from edgecnn.errors import CheckFailedError
from edgecnn.runtime.terminal import printable

POLL = 0.1  # seconds

HINTS = {
    signal.SIGILL: "an instruction that this CPU does not have: the engine was built for another one",
    signal.SIGKILL: "most often because memory ran out",
    signal.SIGSEGV: "a fault of the engine, or a damaged file",
    signal.SIGABRT: "the engine gave up",
    signal.SIGBUS: "a fault of the engine, or a file that was cut short while in use",
}


def command() -> list[str]:
    """The command line of a measured process that imports the same edgecnn as this one."""
    root = str(Path(edgecnn.__file__).parent.parent)
    start = f"import sys; {root!r} in sys.path or sys.path.insert(0, {root!r}); from edgecnn.measure.child import main"
    return [sys.executable, "-P", "-c", f"{start}; main()"]


class Worker:
    """A measured process. ``spawned`` is the monotonic clock, in nanoseconds, just before it was started."""

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the process
        self._received = b""
        line = command() if words is None else list(words)
        self.spawned = time.perf_counter_ns()
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, bufsize=0
        )

    def ask(self, request: dict[str, Any], patience: float, poll: Callable[[], None] | None = None) -> dict[str, Any]:
        """The answer to a request, waited for at most ``patience`` seconds; ``poll`` is called meanwhile.

        Raises CheckFailedError with the error that was answered, or with how the process ended or hung.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError as error:
            raise CheckFailedError(self._end()) from error
        answer: dict[str, Any] = json.loads(self._line(request["do"], patience, poll))
        if "error" in answer:
            raise CheckFailedError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process, kindly if it listens."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._complaints.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:
            self._process.kill()
        self.close()

    def _line(self, doing: str, patience: float, poll: Callable[[], None] | None) -> bytes:
        assert self._process.stdout is not None
        end = time.monotonic() + patience
        while b"\n" not in self._received:
            left = end - time.monotonic()
            if left <= 0:
                raise CheckFailedError(f"gave no answer to '{doing}' within {patience:g} seconds and was stopped")
            ready, _, _ = select.select([self._process.stdout], [], [], min(left, POLL) if poll else left)
            if poll:
                poll()
            if ready:
                piece = os.read(self._process.stdout.fileno(), 1 << 20)
                if not piece:
                    raise CheckFailedError(self._end())
                self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _end(self) -> str:
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            hint = HINTS.get(signal.Signals(-code))
            return f"was killed by {name}" + (f" ({hint})" if hint else "")
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was said")
        return f"ended with exit code {code}: {printable(last[:300])}"
