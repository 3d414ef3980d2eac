"""The measured process: opens one file and answers requests, a JSON document a line, on standard input and output.

    {"do": "open", "case": {...}, "pin": [], "spawned": ns}      -> the engine, and a Run's start and memory
    {"do": "time", "warm_up": s, "seconds": s, "at_least": n}    -> {"warm_ups": [ns], "samples": [ns], ...}
    {"do": "sustain", "seconds": s}                              -> a Window; asked again at once, there is no rest
    {"do": "spend", "seconds": s}                                -> {"calls": n}, for a meter outside
    {"do": "smoke", "module": name}                              -> {"version": text}, of the module once imported
    {"do": "anatomy"}                                            -> {"graph": a Graph or null, "floor": ns or null}
    {"do": "cut", "file": name, "threads": n, "pin": []}         -> {}, and now there are slices to ask for
    {"do": "slice", "part": name, "count": n, "batch": n}        -> {"call": ns, "clocks_mhz": []}, of one slice
    {"do": "dissect"}                                            -> the engine and what is known of each operation
    {"do": "score"}                                              -> {"correct": n, "images": n}, of the bundle's sample;
                                                                    {} where it came without

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
FLOOR_SECONDS = 0.02

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

    path, threads, engine = Path(case["file"]), case["threads"], case["runtime"]
    if case["bundle"] is None:
        return open_artifact(path, threads=threads, engine=engine)
    manifest = Manifest.load(Path(case["bundle"]))
    entry = next(artifact for artifact in manifest.artifacts if artifact.file == path.name)
    return open_artifact(path, entry, image=manifest.input, threads=threads, engine=engine)


class Measured:
    """One file in this process; a method per request."""

    def __init__(self, started: int, launch: Launch) -> None:
        self._started, self._launch = started, launch
        self._sustained_since: float | None = None

    def open(self, request: Request) -> Request:
        """Import the runtime, load the file, run it for the first time, and time each of these."""
        if request["pin"]:
            os.sched_setaffinity(0, request["pin"])
        self._case = request["case"]
        before = time.perf_counter_ns()
        from edgecnn.measure import latency, memory
        from edgecnn.runtime.engines import RUNTIMES

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

        from edgecnn.runtime.engines import version_of

        importlib.import_module(request["module"])
        package = request["module"].partition(".")[0]
        return {"version": version_of(package, package)}

    def time(self, request: Request) -> Request:
        """Warm up, then time; the clock of the CPU is read on both sides of the timing."""
        from edgecnn.measure.latency import no_garbage_collection, time_calls
        from edgecnn.measure.machine import current_cpu, read_mhz

        warm_ups = time_calls(self._call, request["warm_up"])
        before = read_mhz(cpu=current_cpu())
        with no_garbage_collection():
            spent = time.process_time_ns()
            samples = time_calls(self._call, request["seconds"], request["at_least"])
            spent = time.process_time_ns() - spent
        clocks = [mhz for mhz in (before, read_mhz(cpu=current_cpu())) if mhz is not None]
        return {"warm_ups": warm_ups, "samples": samples, "clocks_mhz": clocks, "cpu": spent // len(samples)}

    def sustain(self, request: Request) -> Request:
        """One window of a sustained run: its median call, and the machine's state at its end."""
        from statistics import median_low

        from edgecnn.measure.latency import time_calls
        from edgecnn.measure.machine import current_cpu, read_mhz, read_state

        self._sustained_since = self._sustained_since or time.monotonic()
        samples = time_calls(self._call, request["seconds"])
        mhz, state = read_mhz(cpu=current_cpu()), read_state()
        return {
            "at": time.monotonic() - self._sustained_since, "p50": median_low(samples), "mhz": mhz,
            "celsius": state.celsius, "throttled": state.throttled, "events": state.throttle_events,
        }  # fmt: skip

    def spend(self, request: Request) -> Request:
        """Run for a while and count the calls."""
        from edgecnn.measure.latency import time_calls

        return {"calls": len(time_calls(self._call, request["seconds"]))}

    def anatomy(self, _request: Request) -> Request:
        """What the engine makes of the file, and what a call takes before anything is computed."""
        from dataclasses import asdict
        from statistics import median_low

        from edgecnn.measure.latency import time_calls

        self._call()  # with the batch that was timed, whatever was scored since
        idle = self._runner.idle()
        if idle is None:
            return {"graph": None, "floor": None}
        from edgecnn.measure.anatomy import graph_of

        engine = None if self._case["runtime"] == "litert" else self._case["runtime"]
        graph = graph_of(Path(self._case["file"]).read_bytes(), self._case["batch"], engine)
        tensor = _any_tensor(self._runner, self._case["batch"])
        time_calls(lambda: idle.run(tensor), FLOOR_SECONDS)
        return {"graph": asdict(graph), "floor": median_low(time_calls(lambda: idle.run(tensor), FLOOR_SECONDS, 10))}

    def cut(self, request: Request) -> Request:
        """Take a .tflite file to be timed in slices."""
        from edgecnn.measure.slicing import Slices

        if request["pin"]:
            os.sched_setaffinity(0, request["pin"])
        self._slices = Slices(Path(request["file"]), request["threads"])
        return {}

    def slice(self, request: Request) -> Request:
        """Time one slice of the file."""
        from edgecnn.measure.machine import current_cpu, read_mhz

        taken = self._slices.time(request["part"], request["count"], request["batch"])
        mhz = read_mhz(cpu=current_cpu())
        return {"call": taken, "clocks_mhz": [] if mhz is None else [mhz]}

    def dissect(self, _request: Request) -> Request:
        """What is in the file, and what the engine makes of it."""
        return self._slices.facts()

    def score(self, _request: Request) -> Request:
        """Score the sample of the file's bundle, if it came with one."""
        from edgecnn.measure.accuracy import score
        from edgecnn.runtime.bundle import open_bundle

        bundle = open_bundle(Path(self._case["bundle"]))
        if bundle.manifest.sample is None:
            return {}
        images, labels = bundle.sample()
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
