"""What each rewrite of the graph brings: ``python -m benchmarks.passes [--model NAME...] [--rounds 20] [--json]``.

Exports every model with random weights (time does not depend on them) as float32 and static_w8a8 with one rewrite
after another switched on, and times all files by turns; see benchmarks/latency.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.latency import Latency, measure
from edgecnn import models
from edgecnn.export import tflite
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime.internals import partitions

HEADERS = (
    "model",
    "recipe",
    "passes",
    "bytes",
    "partitions",
    "us, AMX withheld",
    "us, AMX allowed",
    "ratio to float32",
)


@dataclass(frozen=True)
class Row:
    """One file: microseconds per image, and the ratio to the plain float32 file of the model (AMX withheld)."""

    model: str
    recipe: str
    passes: tuple[str, ...]
    bytes: int
    partitions: int
    microseconds: float
    microseconds_amx: float | None
    ratio: float


def variants() -> list[tuple[str, tuple[str, ...]]]:
    """(recipe, passes) of the files of one model; the first is what the others are compared with."""
    names = tuple(passes.PASSES)
    growing = [names[:count] for count in range(len(names) + 1)]
    floats = [(FLOAT32.name, passes.defaults(FLOAT32)), (FLOAT32.name, ())]
    return floats + [(STATIC_W8A8.name, chosen) for chosen in growing]


def run(model: str, rounds: int, folder: Path) -> list[Row]:
    """Export, time and tabulate one model."""
    arguments = ModelArguments()
    torch.manual_seed(0)
    network = models.create(model, arguments).eval()
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    files = []
    for number, (recipe, chosen) in enumerate(variants()):
        if recipe == FLOAT32.name:
            content = tflite.convert_float(passes.apply(fold(network), chosen, arguments), arguments)
        else:
            content = tflite.convert_quantized(ptq.calibrate(network, arguments, [images], chosen), arguments)
        files.append(folder / f"{model}_{number}_{recipe}.tflite")
        files[-1].write_bytes(content)
    timed: dict[str, list[Latency]] = {}
    for each in measure(files, rounds):
        timed.setdefault(each.file, []).append(each)
    rows = []
    for (recipe, chosen), file in zip(variants(), files, strict=True):
        withheld, *allowed = timed[str(file)]
        rows.append(
            Row(
                model, recipe, chosen, file.stat().st_size, partitions(file.read_bytes())[0], withheld.microseconds,
                allowed[0].microseconds if allowed else None, withheld.ratio,
            )
        )  # fmt: skip
    return rows


def text(rows: list[Row]) -> str:
    """The table."""
    cells = [
        (
            row.model, row.recipe, " ".join(row.passes) or "none", f"{row.bytes:,}", str(row.partitions),
            f"{row.microseconds:.1f}", "-" if row.microseconds_amx is None else f"{row.microseconds_amx:.1f}",
            f"{row.ratio:.2f}",
        )
        for row in rows
    ]  # fmt: skip
    return table(HEADERS, cells, "lllrrrrr")


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.passes", description="Time the graph rewrites.")
    parser.add_argument("--model", nargs="+", default=models.names())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in options.model:
            rows += run(model, options.rounds, Path(folder))
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else text(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
