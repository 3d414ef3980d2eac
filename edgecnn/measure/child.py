"""The measured process: opens one file and answers requests, a JSON document a line, on standard input and output.

    {"do": "open", "case": {...}, "pin": [], "spawned": ns}      -> the engine, and a Run's start and memory
    {"do": "time", "warm_up": s, "seconds": s, "at_least": n}    -> {"warm_ups": [ns], "samples": [ns], ...}
    {"do": "spend", "seconds": s}                                -> {"calls": n}, for a meter outside
    {"do": "smoke", "module": name}                              -> {"version": text}, of the module once imported
    {"do": "score"}                                              -> {"correct": n, "images": n}, of the bundle's sample

An error that was foreseen is answered with {"error": line}; any other ends the process.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter_ns()  # as early as can be: what came before is the interpreter's own start

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from edgecnn.runtime.runner import Runner

FIRST_CALLS = 10  # the peak of memory is read after so many
BATCH = 100  # images at a time when scoring

Request = dict[str, Any]


Launch = Callable[[Request], "Runner"]


def serve(requests: Iterable[str], started: int, launch: Launch | None = None) -> Iterator[Request]:
    """The answers to the requests; a file is opened by ``launch``, open_case when None."""
    from edgecnn.errors import EdgeCNNError

    process = Measured(started, launch or open_case)
    for line in requests:
        request = json.loads(line)
        try:
            yield getattr(process, request["do"])(request)
        except EdgeCNNError as error:
            yield {"error": str(error)}
            return


def open_case(case: Request) -> Runner:
    """A Runner of a Case, checked against its bundle's manifest if it has one. Raises what open_artifact does."""
    from edgecnn.runtime.artifact import open_artifact
    from edgecnn.runtime.manifest import Manifest

    path, threads = Path(case["file"]), case["threads"]
    if case["bundle"] is None:
        return open_artifact(path, threads=threads)
    manifest = Manifest.load(Path(case["bundle"]))
    entry = next(artifact for artifact in manifest.artifacts if artifact.file == path.name)
    return open_artifact(path, entry, image=manifest.input, threads=threads)


class Measured:
    """One file in this process; a method per request."""

    def __init__(self, started: int, launch: Launch) -> None:
        self._started, self._launch = started, launch

    def open(self, request: Request) -> Request:
        """Import the runtime, load the file, run it for the first time, and time each of these."""
        if request["pin"]:
            os.sched_setaffinity(0, request["pin"])
        self._case = request["case"]
        before = time.perf_counter_ns()
        from edgecnn.measure import latency, memory
        from edgecnn.measure.runtimes import RUNTIMES

        RUNTIMES[self._case["runtime"]].load()
        imported = time.perf_counter_ns()
        base = memory.start_over()
        opening = time.perf_counter_ns()
        self._runner = self._launch(self._case)
        opened = time.perf_counter_ns()
        tensor = _any_tensor(self._runner, self._case["batch"])
        self._call: Callable[[], object] = lambda: self._runner.run(tensor)
        first, *_ = latency.time_calls(self._call, 0, FIRST_CALLS)
        peak = memory.peak()
        return {
            "engine": self._runner.engine, "start": max(0, self._started - request["spawned"]),
            "imports": imported - before, "load": opened - opening, "first": first,
            "base_bytes": base, "peak_bytes": peak, "overhead": latency.overhead(),
        }  # fmt: skip

    def smoke(self, request: Request) -> Request:
        """Import a runtime, which may end the process, and say its version."""
        import importlib
        from importlib.metadata import version

        importlib.import_module(request["module"])
        return {"version": version(request["module"].partition(".")[0])}

    def time(self, request: Request) -> Request:
        """Warm up, then time; the clock of the CPU is read on both sides of the timing."""
        from edgecnn.measure.latency import time_calls
        from edgecnn.measure.machine import current_cpu, read_mhz

        warm_ups = time_calls(self._call, request["warm_up"])
        before = read_mhz(cpu=current_cpu())
        samples = time_calls(self._call, request["seconds"], request["at_least"])
        clocks = [mhz for mhz in (before, read_mhz(cpu=current_cpu())) if mhz is not None]
        return {"warm_ups": warm_ups, "samples": samples, "clocks_mhz": clocks}

    def spend(self, request: Request) -> Request:
        """Run for a while and count the calls."""
        from edgecnn.measure.latency import time_calls

        return {"calls": len(time_calls(self._call, request["seconds"]))}

    def score(self, _request: Request) -> Request:
        """Score the sample of the file's bundle."""
        from edgecnn.measure.accuracy import score
        from edgecnn.runtime.bundle import open_bundle

        images, labels = open_bundle(Path(self._case["bundle"])).sample()
        pieces = [slice(start, start + BATCH) for start in range(0, len(labels), BATCH)]
        result = score(self._runner, ((images[piece], labels[piece]) for piece in pieces))
        return {"correct": result.right, "images": result.images}


def _any_tensor(runner: Runner, batch: int) -> Any:
    """An input of noise, the same in every process; what the pixels are does not change the work."""
    import hashlib

    import numpy as np

    from edgecnn.runtime.preprocess import prepare

    shape = (batch, *runner.input.image)
    noise = hashlib.shake_256(b"edgecnn").digest(int(np.prod(shape)))
    return prepare(np.frombuffer(noise, np.uint8).reshape(shape), runner.input)


def main() -> None:
    """Serve standard input; whatever an engine prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        for answer in serve(sys.stdin, STARTED):
            print(json.dumps(answer), file=answers, flush=True)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)  # nobody listens any more


if __name__ == "__main__":
    main()
