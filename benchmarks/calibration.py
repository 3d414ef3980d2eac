"""What each step of calibration brings: ``python -m benchmarks.calibration [--model NAME...] [--recipe NAME]``.

Calibrates the shipped weights with and without tightened ranges, corrected biases, equalized channels and, for weights
of 4 bits, adapted rounding, and holds the simulations against the float model on training images that did not
calibrate: signal to quantization noise of the logits in dB, and the share of images in the same class. No test image is
looked at.

``--spread S`` does the same to nets that compute the same with badly scaled weights: each channel between two layers
times e to the power of S times a normal number. MobileNets come so out of training.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgecnn import models
from edgecnn.data import registry
from edgecnn.data.augment import to_input
from edgecnn.data.dataset import sample
from edgecnn.evaluate import predictor
from edgecnn.export.source import Source, find_weights
from edgecnn.measure.stats import agreement
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.adaround import adapt_rounding
from edgecnn.quantize.correct import correct_biases
from edgecnn.quantize.fold import fold
from edgecnn.quantize.passes.equalize import pairs, scale
from edgecnn.quantize.qdq import make_room_for_biases
from edgecnn.quantize.ranges import tighten_ranges
from edgecnn.quantize.recipe import SIMULATED, STATIC_W8A8, Recipe, parse
from edgecnn.report.table import table

CALIBRATION, HELD_OUT, SEED = 512, 2000, 7
STEPS = (
    "ranges that hold all values",
    "tightened",
    "corrected",
    "tightened, corrected",
    "equalized, tightened, corrected",
)
ADAPTED = ("tightened, adapted, corrected",)  # does nothing to weights of 8 bits
HEADERS = ("model", "calibration", "SQNR dB", "agreement")


@dataclass(frozen=True)
class Row:
    """One calibration of one model: noise of its logits in dB below the signal, and the share of equal classes."""

    model: str
    steps: str
    sqnr: float
    agreement: float


def measure(
    model: str, data: str, images: int = HELD_OUT, recipe: Recipe = STATIC_W8A8, spread: float = 0.0
) -> list[Row]:
    """A row for each of STEPS, and of ADAPTED where it matters, on ``images`` training images."""
    dataset = registry.load(data)
    source = Source(*find_weights(model, dataset), dataset, CALIBRATION)
    source = replace(source, model=rescaled(source.model, spread))
    batches = [to_input(torch.from_numpy(batch)) for batch in source.calibration_batches()]
    split = sample(dataset.train, images, SEED)
    pictures = split.take(np.arange(len(split)))[0]
    exact = predictor(source.model)(pictures)
    chosen = STEPS + (ADAPTED if recipe.weight_bits < 8 else ())
    graphs = ((steps, _calibrated(source, batches, steps, recipe)) for steps in chosen)
    return [_row(model, steps, predictor(graph)(pictures), exact) for steps, graph in graphs]


def rescaled(model: nn.Module, spread: float) -> fx.GraphModule:
    """The folded ``model``, which computes what it did, with channels that differ by factors of about e^``spread``."""
    graph_module = fold(model)
    generator = torch.Generator().manual_seed(SEED)
    for first, second in pairs(graph_module):
        scale(first, second, torch.exp(spread * torch.randn(len(first.weight), generator=generator)))
    return graph_module


def _calibrated(source: Source, batches: Sequence[Tensor], steps: str, recipe: Recipe) -> fx.GraphModule:
    rewrites = passes.defaults(recipe) + ((passes.EQUALIZE,) if "equalized" in steps else ())
    graph_module = ptq.observe(source.model, source.arguments, batches, rewrites, recipe)
    if "tightened" in steps:
        tighten_ranges(graph_module, batches)
    if "adapted" in steps:
        adapt_rounding(graph_module, torch.cat(list(batches)))
    if "corrected" in steps:
        correct_biases(graph_module, torch.cat(list(batches)))
    make_room_for_biases(graph_module)
    return graph_module


def _row(model: str, steps: str, logits: np.ndarray, exact: np.ndarray) -> Row:
    noise = float(np.square(logits - exact).mean())
    sqnr = 10 * math.log10(float(np.square(exact).mean()) / noise)
    return Row(model, steps, sqnr, agreement(logits.argmax(1), exact.argmax(1)))


def main(words: Sequence[str] | None = None) -> None:
    """Print a row per model and calibration."""
    parser = argparse.ArgumentParser(prog="benchmarks.calibration", description=__doc__)
    parser.add_argument("--model", nargs="+", default=models.names(), choices=models.names())
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--recipe", default=STATIC_W8A8.name, choices=[recipe.name for recipe in SIMULATED])
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(words)
    rows = []
    for model in options.model:
        print(model, file=sys.stderr)
        rows += measure(model, options.data, recipe=parse(options.recipe), spread=options.spread)
    if options.json:
        given = {"data": options.data, "recipe": options.recipe, "spread": options.spread}
        print(json.dumps(given | {"rows": [asdict(row) for row in rows]}, indent=2))
    else:
        cells = [[row.model, row.steps, f"{row.sqnr:.2f}", f"{100 * row.agreement:.2f} %"] for row in rows]
        print(table(HEADERS, cells, "llrr"))


if __name__ == "__main__":
    main()
