"""Which layers quantization harms, and what keeping them float32 costs: ``python -m benchmarks.sensitivity [--json]``.

For every model and bound the fewest layers found that ``quantize --max-drop`` leaves in float32, the drop of the file
on training images that neither calibrated nor chose, its bytes and its latency over those of the file int8 throughout.
``resnet8, unbalanced`` is resnet8 after a change that leaves its function as it was and its integers not: within a
residual block the channels of a BatchNorm are scaled up and down, and the next convolution's weights inversely.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from edgecnn import models
from edgecnn.cli.max_drop import document
from edgecnn.data import registry
from edgecnn.export.drafts import Order
from edgecnn.export.mixed import Outcome, searching
from edgecnn.export.source import Source, find_weights
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.report.table import table

CALIBRATION = 512
BOUNDS = (0.3, 0.1, 0.0)
UNBALANCED = "resnet8, unbalanced"
SCALED = (("res2.bn1", "res2.conv2"),)  # in resnet8: a BatchNorm, and the convolution that takes its ReLU
DOUBLINGS = 6.0  # a channel is scaled by up to so many, up or down
HEADERS = (
    "model", "at most", "int8 throughout drops", "float32 layers", "drops", "bytes", "latency",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One model and bound; ``result`` is what ``quantize --max-drop --json`` says of it."""

    model: str
    result: dict[str, object]


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


def measure(name: str, data: str, bounds: Sequence[float]) -> list[tuple[str, Outcome]]:
    """An outcome for each bound, the layers ranked once."""
    dataset = registry.load(data)
    source = Source(*find_weights(name.partition(",")[0], dataset), dataset, CALIBRATION)
    if name == UNBALANCED:
        source = replace(source, model=unbalance(source.model, SCALED))
    with searching(Order("tflite", STATIC_W8A8), source, lambda line: print(line, file=sys.stderr)) as search:
        return [(name, search.within(bound)) for bound in bounds]


def cells(name: str, outcome: Outcome) -> list[str]:
    """A line of the table."""
    kept = sum(set(harm.layers) <= set(outcome.best.float_layers) for harm in outcome.ranking)
    low, high = outcome.best.effect.interval
    plain_low, plain_high = outcome.plain.effect.interval
    ratio = 1.0 if outcome.cost is None else outcome.cost.mixed.ratio
    return [
        name, f"{outcome.bound:g}{'' if outcome.within else ', not kept'}",
        f"{outcome.plain.effect.drop:+.2f} ({plain_low:+.2f} to {plain_high:+.2f})",
        f"{kept} of {len(outcome.ranking)}", f"{outcome.best.effect.drop:+.2f} ({low:+.2f} to {high:+.2f})",
        f"{outcome.best.bytes / outcome.plain.bytes:.2f} times", f"{ratio:.2f} times",
    ]  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    """Print a row per model and bound."""
    names = [*models.names(), UNBALANCED]
    parser = argparse.ArgumentParser(prog="benchmarks.sensitivity", description=__doc__)
    parser.add_argument("--model", nargs="+", default=names, choices=names)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--bound", nargs="+", type=float, default=BOUNDS, metavar="POINTS")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(words)
    found = [row for name in options.model for row in measure(name, options.data, options.bound)]
    if options.json:
        rows = [asdict(Row(name, document(outcome))) for name, outcome in found]
        print(json.dumps({"data": options.data, "rows": rows}, indent=2))
        return
    print(table(HEADERS, [cells(name, outcome) for name, outcome in found], "lrrrrrr"))
    for name, outcome in found:
        if outcome.best.float_layers:
            print(f"{name}, {outcome.bound:g}: {', '.join(outcome.best.float_layers)}")


if __name__ == "__main__":
    main()
