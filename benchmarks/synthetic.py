"""What calibrating without data costs: ``python -m benchmarks.synthetic [--model NAME...] [--data DATA] [--json]``.

Calibrates the shipped weights for static_w8a8 on training images, on the images that ``--calibration synthetic`` makes,
on the noise they start from, and on images made from the BatchNorms alone, and holds each simulation against the float
model on training images that did not calibrate: signal to quantization noise of the logits in dB, and the share of
images in the same class. No test image is looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.calibration import CALIBRATION, HELD_OUT, SEED
from edgecnn import models
from edgecnn.data import registry
from edgecnn.data.dataset import sample
from edgecnn.evaluate import predictor
from edgecnn.export.source import CALIBRATION_SEED, SYNTHETIC_IMAGES, Source, find_weights
from edgecnn.measure.stats import agreement, decibels
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.quantize.synthetic import start, synthesize, to_pixels
from edgecnn.report.table import table

HEADERS = ("model", "calibrated on", "SQNR dB", "agreement", "seconds")


@dataclass(frozen=True)
class Row:
    """One calibration of one model: SQNR of its logits, share of equal classes, and how long its images took."""

    model: str
    images: str
    sqnr: float | None
    agreement: float
    seconds: float


def measure(model: str, data: str, images: int = HELD_OUT, made: int = SYNTHETIC_IMAGES) -> list[Row]:
    """A row for each kind of images, ``made`` of those that are not from the data set, on ``images`` others."""
    dataset = registry.load(data)
    source = Source(*find_weights(model, dataset), dataset, CALIBRATION)
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
        rows.append(Row(model, name, decibels(exact, logits), share, seconds))
    return rows


def main(words: Sequence[str] | None = None) -> None:
    """Print a row per model and kind of images."""
    parser = argparse.ArgumentParser(prog="benchmarks.synthetic", description=__doc__)
    parser.add_argument("--model", nargs="+", default=models.names(), choices=models.names())
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(words)
    rows = []
    for model in options.model:
        print(model, file=sys.stderr)
        rows += measure(model, options.data)
    if options.json:
        print(json.dumps({"data": options.data, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        cells = [
            [row.model, row.images, "exact" if row.sqnr is None else f"{row.sqnr:.2f}", f"{100 * row.agreement:.2f} %",
             f"{row.seconds:.0f}"]
            for row in rows
        ]  # fmt: skip
        print(table(HEADERS, cells, "llrrr"))


if __name__ == "__main__":
    main()
