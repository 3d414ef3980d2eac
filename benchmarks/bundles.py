"""Bundles of the shipped weights, float32 and one recipe, made anew only when something that makes them has changed.

A bundle is kept in the cache folder under a digest of the weights, the versions of the tools, and the code of the
rooms that a bundle comes from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import edgecnn
from edgecnn import checkpoint
from edgecnn.cli.sources import load_source
from edgecnn.errors import BadFileError, CheckFailedError
from edgecnn.export.bundle import TOOLS, write_bundle
from edgecnn.export.drafts import orders
from edgecnn.export.torchscript import DEFAULT_ENGINE
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, STATIC_W8A8, Recipe
from edgecnn.runtime.places import cache_folder

FORMATS = ("tflite", "onnx", "torchscript")
ROOMS = ("checkpoint", "evaluate.py", "data", "export", "measure", "models", "quantize", "runtime")


def default_cache() -> Path:
    """Where bundles are kept unless told otherwise: ``bundles`` in ``$EDGECNN_CACHE``, else in the cache folder."""
    return cache_folder("EDGECNN_CACHE") / "bundles"


def say(line: str) -> None:
    """Tell how the work goes on."""
    print(line, file=sys.stderr)


def bundle(
    model: str, data: str, cache: Path, formats: Sequence[str] = FORMATS, recipe: Recipe = STATIC_W8A8,
    mirrored: bool = False,
) -> Path:  # fmt: skip
    """The folder of a model's bundle for a data set, from the cache if it is there.

    ``mirrored`` files look at each image and its mirror image.
    Raises BadFileError where no weights ship, CheckFailedError if a file does not pass its gate.
    """
    weights = checkpoint.shipped(model, data)
    if weights is None:
        raise BadFileError(f"no weights of '{model}' for data set '{data}' come with edgecnn; choose another --data")
    folder = cache / _key(weights, formats, recipe, mirrored) / f"{model}-{data}"
    if folder.is_dir():
        say(f"{folder.name} is in the cache")
        return folder
    source = load_source(model, None, data, "refuse", CALIBRATION_IMAGES)
    if mirrored:
        source = source.looking_twice()
    wanted = orders(formats, recipe, None, DEFAULT_ENGINE)
    judged = write_bundle(wanted, recipe, source, folder, force=False, say=say)
    failure = next((each.failure for each in judged if each.failure is not None), None)
    if failure is not None:
        shutil.rmtree(folder)  # without that file it would be taken for whole the next time
        raise CheckFailedError(failure)
    return folder


def _key(weights: Path, formats: Sequence[str], recipe: Recipe, mirrored: bool) -> str:
    asked = [checkpoint.tool_versions(*TOOLS), sorted(formats), recipe.name, mirrored]
    digest = hashlib.sha256(json.dumps(asked).encode())
    root = Path(edgecnn.__file__).parent
    for room in ROOMS:
        for file in sorted((root / room).rglob("*.py")) if (root / room).is_dir() else [root / room]:
            digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    header, tensors = checkpoint.load(weights)
    # Not what the files scored: that is recorded in the header when they are there.
    metrics = {name: value for name, value in header.metrics.items() if name.startswith("test_")}
    digest.update(f"{replace(header, metrics=metrics).to_json()}\0{checkpoint.digest(tensors)}".encode())
    return digest.hexdigest()[:20]
