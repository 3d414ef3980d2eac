"""Opens any artifact with an engine of its format, which is imported only then."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.runtime.engines import RUNTIMES, fitting
from edgecnn.runtime.manifest import Artifact, Image
from edgecnn.runtime.preprocess import InputSpec
from edgecnn.runtime.runner import Runner

FORMAT_OF_SUFFIX = {
    ".tflite": "tflite", ".onnx": "onnx", ".torchscript": "torchscript", ".pt": "torchscript", ".pte": "pte",
}  # fmt: skip


def open_artifact(
    path: Path,
    entry: Artifact | None = None,
    *,
    image: Image | None = None,
    threads: int = 1,
    engine: str | None = None,
) -> Runner:
    """Open a file whose ending FORMAT_OF_SUFFIX has, with an engine of its format on ``threads`` CPU threads.

    ``entry`` and ``image`` are what a manifest says of the file: the file is checked against them, and they supply
    what a format does not record. A bare file is taken to want edgecnn's input convention; a TorchScript file
    records nothing and needs both. ``engine`` is one of engines.RUNTIMES; None is the first for the format. Raises
    BadFileError (missing, truncated, foreign, or not what the manifest says), UsageError when the engine is not
    installed or runs another format.
    """
    format = FORMAT_OF_SUFFIX.get(path.suffix)
    if not os.path.exists(path):
        raise BadFileError(f"there is no {path}; give the path of an artifact (valid: {', '.join(FORMAT_OF_SUFFIX)})")
    if format is None:
        raise BadFileError(f"{path} is no artifact by its ending (valid: {', '.join(FORMAT_OF_SUFFIX)})")
    if not path.is_file():
        raise BadFileError(f"{path} is not a file; give the path of an artifact (valid: {', '.join(FORMAT_OF_SUFFIX)})")
    if engine is None:
        engine = fitting(format)[0]
    elif engine not in RUNTIMES:
        raise UnknownNameError("runtime", engine, RUNTIMES)
    elif engine not in fitting(format):
        raise UsageError(f"{path} cannot run in {engine} (valid: {', '.join(fitting(format))})")
    runner = RUNTIMES[engine].open()(path, entry, image, threads)
    if image is not None:
        check_same(path, "input image", runner.input.image, (image.height, image.width, image.channels))
    else:
        _check_range(path, runner.input)
    if entry is not None:
        for name in ("layout", "dtype", "scale", "zero_point"):
            check_same(path, f"input.{name}", getattr(runner.input, name), getattr(entry.input, name))
        for name in ("dtype", "scale", "zero_point"):
            check_same(path, f"output.{name}", getattr(runner.output, name), getattr(entry.output, name))
    return runner


def check_same(path: Path, field: str, found: object, stated: object) -> None:
    """Raise BadFileError unless what the file holds is what its manifest states (numbers to float32 precision)."""
    if isinstance(found, float) and isinstance(stated, float):
        same = bool(np.float32(found) == np.float32(stated))
    else:
        same = found == stated
    if not same:
        raise BadFileError(f"{path}: {field} is {found} in the file, but its manifest says {stated}")


def _check_range(path: Path, spec: InputSpec) -> None:
    """Refuse a bare quantized file whose input range is clearly not that of the input convention."""
    if spec.dtype == "float32":
        return
    limits = np.iinfo(spec.dtype)
    low, high = ((limit - spec.zero_point) * spec.scale for limit in (limits.min, limits.max))
    first, last = ((pixel - spec.offset) / spec.divisor for pixel in (0, 255))
    shared = min(high, last) - max(low, first)
    if shared < 0.5 * (max(high, last) - min(low, first)):
        raise BadFileError(
            f"{path} takes inputs from {low:g} to {high:g}, but edgecnn gives it {first:g} to {last:g}; "
            "it was not made for (u8 - 128) / 64 and needs a manifest that states its offset and divisor"
        )
