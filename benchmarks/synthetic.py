"""What calibrating without data costs: ``python -m benchmarks.synthetic [--model NAME...] [--measure]``.

Shows the committed results, or makes them: calibrates the shipped weights for static_w8a8 on training images, on the
images that ``--calibration synthetic`` makes, on the noise they start from, and on images made from the BatchNorms
alone, and holds each simulation against the float model on training images that did not calibrate: signal to
quantization noise of the logits in dB, and the share of images in the same class. No test image is looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.calibration import HELD_OUT, SEED
from benchmarks.committed import Results, Row, shown_decibels
from edgecnn.data import registry
from edgecnn.data.dataset import sample
from edgecnn.evaluate import predictor
from edgecnn.export.source import CALIBRATION_SEED, SYNTHETIC_IMAGES, Source, find_weights
from edgecnn.measure.stats import agreement, sqnr
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, STATIC_W8A8
from edgecnn.quantize.synthetic import start, synthesize, to_pixels
from edgecnn.report.table import table

HEADERS = ("model", "calibrated on", "SQNR dB", "agreement", "seconds")


def measure(model: str, data: str, images: int = HELD_OUT, made: int = SYNTHETIC_IMAGES) -> list[Row]:
    """A row for each kind of images, ``made`` of those that are not from the data set, on ``images`` others.

    ``sqnr`` is of the logits, in dB, ``agreement`` the share of images in the same class as by the float model,
    ``seconds`` what it took to make the images.
    """
    dataset = registry.load(data)
    source = Source(*find_weights(model, dataset.name), dataset, CALIBRATION_IMAGES)
    arguments = source.arguments
    kinds: dict[str, Callable[[], np.ndarray]] = {
        f"{source.calibration.images} training images": lambda: np.concatenate(list(source.calibration_batches())),
        f"{made} synthetic": lambda: synthesize(source.model, arguments, made, CALIBRATION_SEED),
        f"{made} from BatchNorms alone": lambda: synthesize(source.model, arguments, made, CALIBRATION_SEED, pull=0),
        f"{made} of noise": lambda: to_pixels(start(arguments, made, CALIBRATION_SEED)),
    }
    split = sample(dataset.train, images, SEED)
    pictures = split.take(np.arange(len(split)))[0]
    exact = predictor(source.model)(pictures)
    rows = []
    for name, make in kinds.items():
        began = time.monotonic()
        calibrating = make()
        seconds = time.monotonic() - began
        graph_module = ptq.calibrate(source.model, arguments, [calibrating], passes.defaults(STATIC_W8A8))
        logits = predictor(graph_module)(pictures)
        share = agreement(logits.argmax(1), exact.argmax(1))
        found = {"sqnr": sqnr(exact, logits), "agreement": share, "seconds": seconds}
        rows.append({"model": model, "images": name} | found)
    return rows


def text(rows: Sequence[Row]) -> str:
    """A line per model and kind of images."""
    cells = [
        (row["model"], row["images"], shown_decibels(row["sqnr"]), f"{100 * row['agreement']:.2f} %",
         f"{row['seconds']:.0f}")
        for row in rows
    ]  # fmt: skip
    return table(HEADERS, cells, "llrrr")


RESULTS = Results("synthetic.json", ("model", "images"), text)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    return RESULTS.main_by_model("Calibration without data.", measure, words)


if __name__ == "__main__":
    sys.exit(main())
