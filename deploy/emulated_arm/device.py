"""What runs on the emulated CPU, and the same on this machine: opens files with the device code and answers requests.

    {"do": "about"}                              -> the architecture, the CPU and its features, the Python
    {"do": "imports"}                            -> {"modules": n}, of everything that a board imports
    {"do": "outputs", "case": {...}, "most": n}  -> raw outputs for the bundle's images, and how many were right
    {"do": "count", "file": path}                -> {"instructions": n}, of one call of the model
    {"do": "operations", "file": path}           -> instructions of the calls of each prefix of the file

An error that was foreseen is answered with {"error": line}; any other ends the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median_low
from typing import Any

from edgecnn.errors import CheckFailedError, EdgeCNNError

Request = dict[str, Any]

COUNTS = "EDGECNN_COUNTS"  # names the file that count_instructions.c writes
MARK = 0x45434E4B  # as in count_instructions.c
WARM_UPS, CALLS = 8, 5  # Python finds its quick way through a loop in the first few rounds
NOISE = 100  # images, where none come with the file

# getauxval(3): which words hold the CPU's features, and the bits of those that measure.machine names.
HWCAP, HWCAP2 = 16, 26
ARM64_FEATURES = {"asimddp": (HWCAP, 20), "i8mm": (HWCAP2, 13)}


def serve(requests: Iterable[str]) -> Iterator[Request]:
    """The answers to the requests, JSON documents a line each."""
    answers: dict[str, Callable[..., Request]] = {
        "about": about, "imports": imports, "outputs": outputs, "count": count, "operations": operations,
    }  # fmt: skip
    for line in requests:
        request = json.loads(line)
        try:
            yield answers[request.pop("do")](**request)
        except EdgeCNNError as error:
            yield {"error": str(error)}


def about() -> Request:
    """The system as it shows itself to a program."""
    import platform
    import sysconfig

    from edgecnn.measure.machine import read_machine

    machine = platform.machine()
    words = {word: ctypes.CDLL(None).getauxval(word) for word in (HWCAP, HWCAP2)}
    features = [name for name, (word, bit) in ARM64_FEATURES.items() if words[word] >> bit & 1]
    return {
        "architecture": machine,
        "cpu": read_machine().cpu,
        "features": features if machine == "aarch64" else [],
        "python": f"{platform.python_version()} {sysconfig.get_config_var('SOABI') or ''}".strip(),
    }


def imports() -> Request:
    """Import every device-safe module, the command line, and what the light install declares."""
    import importlib
    import pkgutil

    names = ["numpy", "click", "edgecnn.cli.main"]
    names += ["PIL.Image"] if sys.maxsize > 1 << 32 else []  # Debian's for armhf needs a hundred other packages
    for room in ("runtime", "measure", "deploy"):
        package = importlib.import_module(f"edgecnn.{room}")
        names += [each.name for each in pkgutil.walk_packages(package.__path__, f"edgecnn.{room}.")]
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CheckFailedError(f"{name} cannot be imported there: {error}") from error
    return {"modules": len(names)}


def outputs(case: Request, most: int) -> Request:
    """Raw outputs for the first ``most`` images of the bundle's sample, one at a time as a camera gives them.

    ``exact`` tells whether they are to be the same everywhere. A file without a bundle, or of one without a sample,
    gets noise, and nothing is right or wrong.
    """
    import numpy as np

    from edgecnn.measure.child import open_case
    from edgecnn.runtime.bundle import open_bundle
    from edgecnn.runtime.classify import dequantize
    from edgecnn.runtime.preprocess import prepare
    from edgecnn.runtime.tflite_file import read

    with open_case(case) as runner:
        bundle = None if case["bundle"] is None else open_bundle(Path(case["bundle"]))
        if bundle is None or bundle.manifest.sample is None:
            shape = (NOISE, *runner.input.image)
            images, labels = np.random.default_rng(0).integers(0, 256, shape, np.uint8), None
        else:
            images, labels = (part[:most] for part in bundle.sample())
        tensor = prepare(images, runner.input)
        raw = np.concatenate([runner.run(tensor[index : index + 1]) for index in range(len(tensor))])
        right = None if labels is None else int((dequantize(raw, runner.output).argmax(axis=1) == labels).sum())
        exact = read(Path(case["file"]).read_bytes()).exact
        found = {"engine": runner.engine, "dtype": raw.dtype.name, "exact": exact, "correct": right}
        return found | {"outputs": raw.tolist()}


def count(file: str) -> Request:
    """Instructions of one call of the model, once its buffers are warm; the Python around the call is taken off."""
    return {"instructions": Counter.here().of_model(Path(file).read_bytes())}


def operations(file: str) -> Request:
    """Instructions of a call of no operation, of the first, of the first two, and so on; names and output tensors."""
    from edgecnn.runtime.slices import empty, prefixes
    from edgecnn.runtime.tflite_file import read
    from edgecnn.runtime.tflite_verifier import read_verified

    content, counter = read_verified(Path(file)), Counter.here()
    parsed = read(content)
    pieces = list(prefixes(content))
    made = [parsed.tensors[operation.outputs[0]] for operation, _ in pieces]
    return {
        "names": [operation.name for operation, _ in pieces],
        "outputs": [f"{tensor.dtype} {'x'.join(map(str, tensor.shape))}" for tensor in made],
        "instructions": [counter.of_model(piece) for piece in (empty(parsed), *(piece for _, piece in pieces))],
    }


class Counter:
    """Reads the counter in the emulator: makes it write a line, and reads its file afterwards."""

    def __init__(self, path: Path) -> None:
        self._lines = path.open(encoding="ascii")

    @classmethod
    def here(cls) -> Counter:
        """The counter that this process runs under. Raises CheckFailedError when there is none."""
        if COUNTS not in os.environ:
            raise CheckFailedError("instructions are only counted under an emulator")
        return cls(Path(os.environ[COUNTS]))

    def of_model(self, content: bytes) -> int:
        """Instructions of one call of a .tflite file in memory, by the default delegate, on one thread."""
        from edgecnn.runtime.litert import open_content

        interpreter = open_content(content, delegate=True)
        return max(1, self._of(interpreter.invoke) - self._of(lambda: None))

    def _of(self, call: Callable[[], object]) -> int:
        self._lines.read()  # what came before
        for _ in range(WARM_UPS + CALLS):
            _mark()
            call()
            _mark()
        counts = [[int(word) for word in line.split()] for line in self._lines.read().splitlines()]
        pairs = list(zip(counts[::2], counts[1::2], strict=True))[WARM_UPS:]
        if any(after[1] != before[1] for before, after in pairs):
            raise CheckFailedError("another thread worked during the call, so its instructions cannot be counted")
        return median_low(after[0] - before[0] for before, after in pairs)


def _mark() -> None:
    try:
        os.close(MARK)
    except OSError:
        return  # as it must be: no such file is open
    raise AssertionError("the mark was an open file")


def main() -> None:
    """Serve standard input; whatever an engine prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        for answer in serve(sys.stdin):
            print(json.dumps(answer), file=answers, flush=True)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)  # nobody listens any more
