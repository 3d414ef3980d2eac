"""The process that decodes and runs: one bundle, one picture at a time, requests on standard input.

    first   a line of JSON, {"bundle": path, "key": path or null}  -> a line {"card": {...}} or {"error": text}
    then    ">II" top, size; then as many bytes of a picture        -> a line of JSON
            a size of 0 asks whether anybody is there               -> {}

A line is {"top": [...], "milliseconds": {...}}, or {"error": text, "status": 422 or 500}. Whatever a picture does to
the decoder, whose libraries are C, happens here. Ctrl-C and a service manager's signals go to the parent, which lets
what is in flight finish; this process ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from edgecnn.runtime.bundle import Bundle
    from edgecnn.runtime.manifest import Artifact
    from edgecnn.runtime.runner import Runner

HEADER = struct.Struct(">II")
PICTURE = 1 << 28  # bytes of data, beside those of the file: a picture of 8K takes 200 MiB


def main() -> None:
    """Serve standard input; whatever an engine prints is dropped."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def say(document: dict[str, Any]) -> None:
        print(json.dumps(document, allow_nan=False), file=answers, flush=True)

    try:
        serve(sys.stdin.buffer, say)
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more


def serve(requests: BinaryIO, say: Any) -> None:
    """Open the bundle that the first line names, then answer until ``requests`` end."""
    from edgecnn.errors import EdgeCNNError
    from edgecnn.runtime.bundle import find_artifact
    from edgecnn.runtime.picture import quiet
    from edgecnn.runtime.proving import bound_data, memory_of

    first = json.loads(requests.readline())
    path = Path(first["bundle"])
    try:
        bundle, artifact = find_artifact(path, None if first["key"] is None else Path(first["key"]))
        with quiet():
            runner = bundle.open(artifact)
    except EdgeCNNError as error:
        say({"error": str(error)})
        return
    bound_data(memory_of(artifact.format) + PICTURE)
    say({"card": card(bundle, artifact, runner)})
    with runner:
        while head := requests.read(HEADER.size):
            top, size = HEADER.unpack(head)
            say(answer(runner, bundle.labels, requests.read(size), top) if size else {})


def answer(runner: Runner, labels: tuple[str, ...], picture: bytes, top: int) -> dict[str, Any]:
    """The best classes of a picture and the milliseconds of each part, or an error with its HTTP status."""
    from edgecnn.errors import EdgeCNNError
    from edgecnn.runtime.classify import classify
    from edgecnn.runtime.picture import BadPictureError

    try:
        found = classify(runner, labels, picture, top)
    except BadPictureError as error:
        return {"error": f"the image cannot be used: {error.reason}", "status": 422}
    except MemoryError:
        return {"error": "the image cannot be used: it takes more memory than is allowed", "status": 422}
    except EdgeCNNError as error:
        return {"error": str(error), "status": 500}
    times = {"decode": found.decode, "preprocess": found.preprocess, "run": found.run}
    return {"top": [asdict(guess) for guess in found.best], "milliseconds": times}


def card(bundle: Bundle, artifact: Artifact, runner: Runner) -> dict[str, Any]:
    """What ``GET /v1/model`` tells: the manifest's facts on the artifact that runs."""
    manifest = bundle.manifest
    score, image = artifact.accuracy, manifest.input
    return {
        "model": manifest.model.name, "recipe": artifact.recipe, "format": artifact.format, "engine": runner.engine,
        "sha256": artifact.sha256, "bytes": artifact.bytes, "parameters": manifest.model.parameters,
        "macs": manifest.model.macs, "dataset": manifest.dataset.name, "labels": list(bundle.labels),
        "input": {"height": image.height, "width": image.width, "channels": image.channels, "color": image.color},
        "accuracy": None if score is None else {"correct": score.correct, "images": score.images},
        "float_layers": list(artifact.float_layers), "created": manifest.created, "edgecnn": manifest.edgecnn,
    }  # fmt: skip
