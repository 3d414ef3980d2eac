"""Which layers quantization harms, and what keeping them float32 costs: ``python -m benchmarks.sensitivity``.

Prints the committed table, or with ``--measure`` a new one, which ``--record`` commits. For every model and bound the
fewest layers found that ``quantize --max-drop`` leaves in float32, the drop of the file on training images that neither
calibrated nor chose, its bytes and its latency over those of the file int8 throughout.
``resnet8, unbalanced`` is resnet8 after a change that leaves its function as it was and its integers not: within a
residual block the channels of a BatchNorm are scaled up and down, and the next convolution's weights inversely.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from benchmarks.committed import Results, Row
from edgecnn import models
from edgecnn.cli.max_drop import document
from edgecnn.data import registry
from edgecnn.export.drafts import Order
from edgecnn.export.mixed import searching
from edgecnn.export.source import Source, find_weights
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, STATIC_W8A8
from edgecnn.report.table import table

BOUNDS = (0.3, 0.1, 0.0)
UNBALANCED = "resnet8, unbalanced"
SCALED = (("res2.bn1", "res2.conv2"),)  # in resnet8: a BatchNorm, and the convolution that takes its ReLU
DOUBLINGS = 6.0  # a channel is scaled by up to so many, up or down
HEADERS = (
    "model", "at most", "int8 throughout drops", "float32 layers", "drops", "bytes", "latency",
)  # fmt: skip


def unbalance(model: nn.Module, pairs: Sequence[tuple[str, str]], doublings: float = DOUBLINGS) -> nn.Module:
    """A copy that computes the same, its channels scaled apart between each BatchNorm and convolution of ``pairs``."""
    changed = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm_name, convolution_name in pairs:
            norm, convolution = changed.get_submodule(norm_name), changed.get_submodule(convolution_name)
            assert isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d)
            factors = 2 ** (doublings * (2 * torch.rand(norm.num_features, generator=generator) - 1))
            norm.weight.mul_(factors)
            norm.bias.mul_(factors)
            convolution.weight.div_(factors[None, :, None, None])
    return changed


def measure(name: str, data: str, bounds: Sequence[float]) -> list[Row]:
    """A row for each bound, the layers ranked once; ``result`` is what ``quantize --max-drop --json`` says of it."""
    dataset = registry.load(data)
    source = Source(*find_weights(name.partition(",")[0], dataset.name), dataset, CALIBRATION_IMAGES)
    if name == UNBALANCED:
        source = replace(source, model=unbalance(source.model, SCALED))
    with searching(Order("tflite", STATIC_W8A8), source, lambda line: print(line, file=sys.stderr)) as search:
        return [{"model": name, "bound": bound, "result": document(search.within(bound))} for bound in bounds]


def text(rows: Sequence[Row]) -> str:
    """A line for each model and bound, and the layers that stay float32."""
    found = [(row["model"], row["result"]) for row in rows]
    lines = [table(HEADERS, [_cells(name, result) for name, result in found], "lrrrrrr"), ""]
    lines += [
        f"{name}, {result['bound_points']:g}: {', '.join(result['float_layers'])} in float32"
        for name, result in found if result["float_layers"]
    ]  # fmt: skip
    return "\n".join(lines).rstrip()


def _cells(name: str, result: Row) -> list[str]:
    kept = sum(set(harm["layers"]) <= set(result["float_layers"]) for harm in result["ranking"])
    ratio = 1.0 if result["cost"] is None else result["cost"]["mixed"]["ratio"]
    plain = result["int8_throughout"]
    return [
        name, f"{result['bound_points']:g}{'' if result['within'] else ', not kept'}", _drop(plain),
        f"{kept} of {len(result['ranking'])}", _drop(result["proven"]),
        f"{result['bytes'] / plain['bytes']:.2f} times", f"{ratio:.2f} times",
    ]  # fmt: skip


def _drop(effect: Row) -> str:
    low, high = effect["interval_points"]
    return f"{effect['drop_points']:+.2f} ({low:+.2f} to {high:+.2f})"


RESULTS = Results("sensitivity.json", ("model", "bound"), text)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    names = [*models.names(), UNBALANCED]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sensitivity", description="Layers that stay float32.")
    parser.add_argument("--model", nargs="+", default=names, choices=names)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--bound", nargs="+", type=float, default=BOUNDS, metavar="POINTS")

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        for name in options.model:
            yield from measure(name, options.data, options.bound)

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
