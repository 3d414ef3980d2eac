"""The first load of an artifact that is not trusted, in a process of its own with limits on memory and time.

Reading a file cannot tell everything that an engine will do with it. So the first time, a child opens it and classifies
a grey image; if that ends in a signal, takes too long or wants too much memory, this process has not been touched. What
was proven is remembered by its digest, in empty files below ``proven`` in ``$EDGECNN_PROVEN``, else in the cache
folder, until edgecnn or an engine changes; delete the folder to have everything proven again.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

import edgecnn
from edgecnn.errors import BadFileError, EdgeCNNError, OutputError, UsageError
from edgecnn.runtime.files import write_bytes
from edgecnn.runtime.manifest import Artifact, Image
from edgecnn.runtime.places import cache_folder
from edgecnn.runtime.records import decode
from edgecnn.runtime.terminal import printable
from edgecnn.runtime.tflite_verifier import read_verified

MEMORY = {"tflite": 1 << 29}  # bytes of data; the other formats' engines are heavier
MEMORY_OF_OTHERS = 1 << 33
VARIABLE = "EDGECNN_PROVEN"
SECONDS = 60  # of the child's life
PACKAGES = {"tflite": ("ai-edge-litert", "tflite-runtime"), "onnx": ("onnxruntime",), "torchscript": ("torch",)}


def prove(path: Path, artifact: Artifact, image: Image) -> None:
    """Load ``path`` in a child and run it once, unless it was done here before.

    Raises BadFileError with what the child found wrong, or how it ended.
    """
    remembered = _remembered(artifact, image)
    if remembered is not None and os.path.exists(remembered):
        return
    if artifact.format == "tflite":
        read_verified(path, artifact.sha256)  # what is refused here costs no child
    run_child(path, artifact, image)
    if remembered is not None:
        try:
            write_bytes(remembered, b"")
        except OutputError:  # a system that is read-only pays for the child at each start
            return


def run_child(path: Path, artifact: Artifact, image: Image) -> None:
    """Load ``path`` in a child and run it once. Raises BadFileError like ``prove``."""
    root = str(Path(edgecnn.__file__).parent.parent)
    start = f"import sys; {root!r} in sys.path or sys.path.insert(0, {root!r}); from edgecnn.runtime import proving"
    request = json.dumps({"path": str(path), "artifact": asdict(artifact), "image": asdict(image)})
    command = [sys.executable, "-P", "-c", f"{start}; proving.main()"]
    try:
        child = subprocess.run(
            command, input=request.encode(), capture_output=True, timeout=SECONDS, check=False,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _refused(path, f"took more than {SECONDS} seconds") from error
    if child.returncode < 0:
        raise _refused(path, f"ended in {signal.Signals(-child.returncode).name}")
    lines = child.stdout.decode(errors="replace").splitlines()
    if child.returncode or not lines:
        last = (child.stderr.decode(errors="replace").split("\n")[-2:-1] or ["nothing was said"])[0]
        raise _refused(path, f"failed: {printable(last[:200])}")
    answer = json.loads(lines[-1])
    if answer["error"] is not None:
        raise BadFileError(answer["error"])


def memory_of(format: str) -> int:
    """How many bytes of data a file of this format may need to be loaded and run."""
    return MEMORY.get(format, MEMORY_OF_OTHERS)


def bound_data(memory: int) -> None:
    """Let this process have ``memory`` bytes of data at most, or fewer where a lower limit holds already."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    """The child: reads a request from standard input, answers on standard output."""
    request = json.load(sys.stdin)
    artifact: Artifact = decode(Artifact, request["artifact"])
    image: Image = decode(Image, request["image"])
    answer = os.dup(1)
    os.dup2(2, 1)  # what an engine prints is no answer
    bound_data(memory_of(artifact.format))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.write(answer, (json.dumps({"error": try_out(Path(request["path"]), artifact, image)}) + "\n").encode())
    _leave()


def try_out(path: Path, artifact: Artifact, image: Image) -> str | None:
    """Load a file and run it on a grey image; what is wrong with it, if anything is."""
    import numpy as np

    from edgecnn.runtime.artifact import open_artifact
    from edgecnn.runtime.preprocess import prepare

    try:
        with open_artifact(path, artifact, image=image) as runner:
            grey = np.full((1, *runner.input.image), 128, np.uint8)
            runner.run(prepare(grey, runner.input))
    except EdgeCNNError as error:
        return str(error)
    except MemoryError:
        return f"{path} wants more memory than the {memory_of(artifact.format) >> 20} MiB allowed"
    return None


def _leave() -> NoReturn:
    """End at once: what an engine does while it is taken down is not asked."""
    os._exit(0)


def _refused(path: Path, how: str) -> BadFileError:
    return BadFileError(
        f"{path} was tried out in a process of its own, which {how}; this file is not safe to run here: get the bundle "
        "from who made it, or make it again"
    )


def _remembered(artifact: Artifact, image: Image) -> Path | None:
    """The file that says that this artifact was proven with what is installed here; None where there is no home."""
    try:
        folder = cache_folder(VARIABLE)
    except UsageError:
        return None
    engines = []
    for package in PACKAGES[artifact.format]:
        try:
            engines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    fields = [edgecnn.__version__, sys.version, *engines, repr(artifact), repr(image)]
    return folder / "proven" / hashlib.sha256("\n".join(fields).encode()).hexdigest()
