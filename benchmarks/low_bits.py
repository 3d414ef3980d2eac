"""Which layers should keep 8 bits in static_w4a8: ``python -m benchmarks.low_bits [--model NAME...] [--measure]``.

Shows the committed results, or makes them: calibrates the shipped weights with 4-bit weights everywhere but in some
layers, and holds the simulations against the float model on training images that did not calibrate, as
``benchmarks.calibration`` does: bytes of the weights, signal to quantization noise of the logits in dB, share of images
in the same class. No rounding is adapted. No test image is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import fx

from benchmarks.calibration import HELD_OUT, SEED
from benchmarks.committed import Results, Row, shown_decibels
from edgecnn.data import registry
from edgecnn.data.augment import to_input
from edgecnn.data.dataset import sample
from edgecnn.evaluate import predictor
from edgecnn.export.source import Source, find_weights
from edgecnn.measure.stats import agreement, sqnr
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.correct import correct_biases
from edgecnn.quantize.graph import module_of
from edgecnn.quantize.qdq import fit_biases
from edgecnn.quantize.ranges import tighten_ranges
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, STATIC_W4A8
from edgecnn.quantize.simulate import QuantizedConv2d, QuantizedLinear
from edgecnn.report.table import table

KEPT = ("no layer", "first", "last", "depthwise", "first, last", "first, last, depthwise", "all layers")
HEADERS = ("model", "8 bits in", "bytes of weights", "SQNR dB", "agreement")


def measure(model: str, data: str, images: int = HELD_OUT) -> list[Row]:
    """A row for each of KEPT, on ``images`` training images.

    ``bytes`` are of the weights, ``sqnr`` is of the logits, in dB, ``agreement`` the share of images in the same class
    as by the float model.
    """
    dataset = registry.load(data)
    source = Source(*find_weights(model, dataset.name), dataset, CALIBRATION_IMAGES)
    batches = [to_input(torch.from_numpy(batch)) for batch in source.calibration_batches()]
    split = sample(dataset.train, images, SEED)
    pictures = split.take(np.arange(len(split)))[0]
    exact = predictor(source.model)(pictures)
    rows = []
    for kept in KEPT:
        graph_module = ptq.observe(source.model, source.arguments, batches, passes.defaults(STATIC_W4A8))
        size = _choose(graph_module, kept)
        tighten_ranges(graph_module, batches)
        correct_biases(graph_module, torch.cat(batches))
        fit_biases(graph_module)
        logits = predictor(graph_module)(pictures)
        same = agreement(logits.argmax(1), exact.argmax(1))
        found = {"bytes": size, "sqnr": sqnr(exact, logits), "agreement": same}
        rows.append({"model": model, "kept": kept} | found)
    return rows


def _choose(graph_module: fx.GraphModule, kept: str) -> int:
    """Set the bits of each layer; gives the bytes of all weights."""
    found = (module_of(graph_module, node) for node in graph_module.graph.nodes)
    layers = [layer for layer in found if isinstance(layer, QuantizedConv2d | QuantizedLinear)]
    for place, layer in enumerate(layers):
        words = {"all layers"}
        words |= {"first"} if place == 0 else set()
        words |= {"last"} if place == len(layers) - 1 else set()
        words |= {"depthwise"} if isinstance(layer, QuantizedConv2d) and layer.groups > 1 else set()
        layer.weight_bits = 8 if words & set(kept.split(", ")) else 4
    return sum(layer.weight.numel() * layer.weight_bits // 8 for layer in layers)


def text(rows: Sequence[Row]) -> str:
    """A line per model and choice."""
    cells = [
        (row["model"], row["kept"], f"{row['bytes']:,}", shown_decibels(row["sqnr"]), f"{100 * row['agreement']:.2f} %")
        for row in rows
    ]
    return table(HEADERS, cells, "llrrr")


RESULTS = Results("low_bits.json", ("model", "kept"), text)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    return RESULTS.main_by_model("Layers that keep 8 bits.", measure, words)


if __name__ == "__main__":
    sys.exit(main())
