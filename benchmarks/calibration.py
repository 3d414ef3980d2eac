"""What each step of calibration brings: ``python -m benchmarks.calibration [--recipe NAME] [--spread S] [--measure]``.

Shows the committed results, or makes them: calibrates the shipped weights with and without tightened ranges, corrected
biases, equalized channels and, for weights of 4 bits, adapted rounding, and holds the simulations against the float
model on training images that did not calibrate: signal to quantization noise of the logits in dB, and the share of
images in the same class. No test image is looked at.

``--spread S`` does the same to nets that compute the same with badly scaled weights: each channel between two layers
times e to the power of S times a normal number. MobileNets come so out of training.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from benchmarks.committed import Results, Row, shown_decibels
from edgecnn import models
from edgecnn.data import registry
from edgecnn.data.augment import to_input
from edgecnn.data.dataset import sample
from edgecnn.evaluate import predictor
from edgecnn.export.source import Source, find_weights
from edgecnn.measure.stats import agreement, sqnr
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.adaround import adapt_rounding
from edgecnn.quantize.correct import correct_biases
from edgecnn.quantize.fold import fold
from edgecnn.quantize.passes.equalize import pairs, scale
from edgecnn.quantize.qdq import fit_biases
from edgecnn.quantize.ranges import tighten_ranges
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, STATIC_W4A8, STATIC_W8A8, Recipe, parse
from edgecnn.report.table import table

HELD_OUT, SEED = 2000, 7
STEPS = (
    "ranges that hold all values",
    "tightened",
    "corrected",
    "tightened, corrected",
    "equalized, tightened, corrected",
)
ADAPTED = ("tightened, adapted, corrected",)  # does nothing to weights of 8 bits
SPREADS = (0.0, 1.0)
HEADERS = ("model", "recipe", "spread", "calibration", "SQNR dB", "agreement")


def measure(
    model: str, data: str, images: int = HELD_OUT, recipe: Recipe = STATIC_W8A8, spread: float = 0.0
) -> list[Row]:
    """A row for each of STEPS, and of ADAPTED where it matters, on ``images`` training images.

    ``sqnr`` is of the logits, in dB, ``agreement`` the share of images in the same class as by the float model.
    """
    dataset = registry.load(data)
    source = Source(*find_weights(model, dataset.name), dataset, CALIBRATION_IMAGES)
    source = replace(source, model=rescaled(source.model, spread))
    batches = [to_input(torch.from_numpy(batch)) for batch in source.calibration_batches()]
    split = sample(dataset.train, images, SEED)
    pictures = split.take(np.arange(len(split)))[0]
    exact = predictor(source.model)(pictures)
    chosen = STEPS + (ADAPTED if recipe.weight_bits < 8 else ())
    rows = []
    for steps in chosen:
        logits = predictor(_calibrated(source, batches, steps, recipe))(pictures)
        same = agreement(logits.argmax(1), exact.argmax(1))
        what = {"model": model, "recipe": recipe.name, "spread": spread, "steps": steps}
        rows.append(what | {"sqnr": sqnr(exact, logits), "agreement": same})
    return rows


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
    fit_biases(graph_module)
    return graph_module


def text(rows: Sequence[Row]) -> str:
    """A line per model and calibration."""
    cells = [
        (row["model"], row["recipe"], f"{row['spread']:g}", row["steps"], shown_decibels(row["sqnr"]),
         f"{100 * row['agreement']:.2f} %")
        for row in rows
    ]  # fmt: skip
    return table(HEADERS, cells, "llllrr")


RESULTS = Results("calibration.json", ("model", "recipe", "spread", "steps"), text)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description="Steps of calibration.")
    parser.add_argument("--model", nargs="+", default=models.names(), choices=models.names())
    parser.add_argument("--data", default="cifar10")
    recipes = [STATIC_W8A8.name, STATIC_W4A8.name]
    parser.add_argument("--recipe", nargs="+", default=recipes, choices=recipes)
    parser.add_argument("--spread", nargs="+", type=float, default=SPREADS)

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        for spread, recipe, model in itertools.product(options.spread, options.recipe, options.model):
            print(f"{model} as {recipe}, spread {spread:g}", file=sys.stderr)
            yield from measure(model, options.data, recipe=parse(recipe), spread=spread)

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
