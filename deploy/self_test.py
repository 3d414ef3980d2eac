"""The self-test of a bundle that was put on a board: it must answer there as it does on the workstation.

    python -P -m edgecnn.deploy.self_test FOLDER

FOLDER holds ``bundle/`` and what ``expect`` wrote there on the workstation; the report goes into its ``report.json``.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, CheckFailedError, EdgeCNNError
from edgecnn.runtime.bundle import Bundle, open_bundle
from edgecnn.runtime.files import write_bytes
from edgecnn.runtime.preprocess import prepare
from edgecnn.runtime.tflite_file import read

BUNDLE, EXPECTED, REPORT = "bundle", "expected.npy", "report.json"
NOISE = 100  # images, for a bundle that holds none
AT_ONCE = 50
TOLERANCE = 1e-4  # of a float output: engines add in another order on another CPU
# Of an integer output of a file that is not exact (TFLiteFile.exact), of any other none: static_w4a8 gave up to 2 on a
# Cortex-A72. As many images in a hundred may then be in another class.
INEXACT_STEPS = 4


@dataclass(frozen=True)
class Report:
    """What a board answered: how many images, how many of them right (None where that is not known), its engine, and
    the largest difference from the workstation's output, in steps of an integer type or as a number."""

    images: int
    correct: int | None
    engine: str
    largest_difference: float

    def check(self, expected: Report, where: str) -> None:
        """Raise CheckFailedError unless the answers of a board are those expected."""
        if self.images != expected.images or not self._as_many_right(expected) or not self._close(expected):
            raise CheckFailedError(
                f"{where}: the self-test failed: {self.correct} of {self.images} images right with {self.engine}, but "
                f"{expected.correct} of {expected.images} here with {expected.engine}; outputs differ by up to "
                f"{self.largest_difference:g} (allowed: {expected.largest_difference:g}); what ran there before goes on"
            )

    def _as_many_right(self, expected: Report) -> bool:
        if self.correct is None or expected.correct is None:
            return self.correct is expected.correct
        other = abs(self.correct - expected.correct)
        return 100 * other <= self.images * (expected.largest_difference if expected.largest_difference >= 1 else 0)

    def _close(self, expected: Report) -> bool:
        return 0 <= self.largest_difference <= expected.largest_difference  # not so where it is NaN


def expect(bundle: Bundle, folder: Path) -> Report:
    """Write what the main file of a bundle answers here into ``folder``; the report says how much may differ there."""
    outputs, correct, engine = _answers(bundle)
    with (folder / EXPECTED).open("wb") as file:
        np.save(file, outputs, allow_pickle=False)
    exact = read(bundle.content(bundle.artifact())).exact
    allowed = TOLERANCE if outputs.dtype.kind == "f" else 0.0 if exact else float(INEXACT_STEPS)
    return Report(len(outputs), correct, engine, allowed)


def self_test(folder: Path) -> Report:
    """Hold the bundle in ``folder`` against what is expected there. Raises BadFileError for files that do not fit."""
    outputs, correct, engine = _answers(open_bundle(folder / BUNDLE))
    try:
        expected = np.load(folder / EXPECTED, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadFileError(f"{folder / EXPECTED} cannot be read: {error}; deploy again") from error
    if expected.shape != outputs.shape or expected.dtype != outputs.dtype:
        raise BadFileError(
            f"{folder / EXPECTED} holds {expected.dtype} {list(expected.shape)}, but the bundle gives {outputs.dtype} "
            f"{list(outputs.shape)}; deploy again"
        )
    difference = np.abs(outputs.astype(np.float64) - expected.astype(np.float64)).max()
    return Report(len(outputs), correct, engine, float(difference) if np.isfinite(difference) else -1.0)


def _answers(bundle: Bundle) -> tuple[np.ndarray, int | None, str]:
    """Raw output [n, classes] for the bundle's images, how many were right, and the engine."""
    image = bundle.manifest.input
    labels = None
    if bundle.manifest.sample is not None:
        images, labels = bundle.sample()
    else:
        shape = (NOISE, image.height, image.width, image.channels)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with bundle.open(bundle.artifact()) as runner:
        starts = range(0, len(images), AT_ONCE)
        parts = [runner.run(prepare(images[start : start + AT_ONCE], runner.input)).copy() for start in starts]
        engine = runner.engine
    outputs = np.concatenate(parts)
    return outputs, None if labels is None else int((outputs.argmax(axis=1) == labels).sum()), engine


def main(words: list[str]) -> int:
    """Carry out the self-test in the folder ``words[0]``; the exit code."""
    folder = Path(words[0])
    try:
        report = self_test(folder)
    except EdgeCNNError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    write_bytes(folder / REPORT, json.dumps(dataclasses.asdict(report)).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
