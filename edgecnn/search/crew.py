"""Worker processes on this machine: started with what they are to do, ended when this process ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import edgecnn
from edgecnn.runtime.files import output_errors

PATIENCE = 60.0  # seconds that a worker may take to end, in the middle of a conversion


class Crew:
    """``count`` processes that run ``module``'s ``main``, each with a log in ``logs``. Used as a context manager.

    A process gets ``job`` as a line of JSON and then keeps its standard input open: when that ends, it is to end, so
    that none outlives this one, however this one goes. Ctrl-C on the terminal does not reach them.
    """

    def __init__(self, count: int, module: str, job: Mapping[str, Any], logs: Path) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self._count, self._module, self._job, self._logs = count, module, job, logs

    def __enter__(self) -> Self:
        try:
            for number in range(1, self._count + 1):
                self._start(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def alive(self) -> int:
        """How many have not ended."""
        return sum(process.poll() is None for process in self.processes)

    def last_words(self) -> str:
        """How the workers ended that did not end well."""
        said = []
        for number, process in enumerate(self.processes, 1):
            code = process.poll()
            if code:
                lines = self._log(number).read_text("utf-8", "replace").splitlines()
                last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was said")
                said.append(f"worker {number}: " + (f"killed by signal {-code}" if code < 0 else last[:300]))
        return "; ".join(said)

    def _log(self, number: int) -> Path:
        return self._logs / f"worker-{number}.log"

    def _start(self, number: int) -> None:
        root = str(Path(edgecnn.__file__).parent.parent)
        path = f"import sys; {root!r} in sys.path or sys.path.insert(0, {root!r})"
        line = [sys.executable, "-P", "-c", f"{path}; from {self._module} import main; sys.exit(main())"]
        threads = str(max(1, len(os.sched_getaffinity(0)) // self._count))
        with output_errors(self._log(number)), self._log(number).open("wb") as log:
            process = subprocess.Popen(
                line, bufsize=0, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0,
                env={"OMP_NUM_THREADS": threads, **os.environ},
            )  # fmt: skip
        self.processes.append(process)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it ended at once, which its log tells
            process.stdin.write(json.dumps(self._job).encode() + b"\n")
