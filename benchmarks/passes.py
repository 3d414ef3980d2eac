"""What each rewrite of the graph brings: ``python -m benchmarks.passes [--model NAME...] [--runs 5] [--json]``.

Exports every model with random weights (time does not depend on them) as float32 and static_w8a8 with one rewrite
after another switched on, and benches the files of a model by turns; where the CPU has Intel AMX, once with it
withheld, as edgecnn runs them, and once with it allowed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from edgecnn import models
from edgecnn.errors import CheckFailedError, EdgeCNNError, UntrustworthyError
from edgecnn.export import tflite
from edgecnn.measure.bench import Surroundings, bench
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.figures import figures
from edgecnn.measure.measurement import Case, Settings
from edgecnn.measure.worker import Worker, command
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime import amx
from edgecnn.runtime.internals import partitions
from edgecnn.runtime.litert import AMX_VARIABLE

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
    names = passes.defaults(STATIC_W8A8)
    growing = [names[:count] for count in range(len(names) + 1)]
    floats = [(FLOAT32.name, passes.defaults(FLOAT32)), (FLOAT32.name, ())]
    return floats + [(STATIC_W8A8.name, chosen) for chosen in growing]


def time_files(files: Sequence[Path], runs: int, amx_allowed: bool) -> list[float]:
    """Median microseconds per image of each file.

    Raises CheckFailedError when one fails, UntrustworthyError when the machine throttled.
    """

    def start(_case: Case) -> Worker:
        return Worker(["env", f"{AMX_VARIABLE}={int(amx_allowed)}", *command()])

    order = Order(tuple(files), ("litert",), settings=Settings(runs))
    session = bench(find_cases(order), order.settings, Surroundings(start=start))
    for row in session.measurements:
        if row.failure is not None:
            raise CheckFailedError(f"{row.case.file} {row.failure}")
    if session.invalid:
        raise UntrustworthyError(f"the figures are INVALID: {'; '.join(session.verdict.reasons)}")
    return [figures(row).p50 for row in session.measurements]


def run(model: str, runs: int, folder: Path) -> list[Row]:
    """Export, time and tabulate one model."""
    arguments = ModelArguments()
    torch.manual_seed(0)
    network = models.create(model, arguments).eval()
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    files = []
    for number, (recipe, chosen) in enumerate(variants()):
        if recipe == FLOAT32.name:
            content = tflite.convert_float(passes.apply(fold(network, arguments), chosen, arguments), arguments)
        else:
            content = tflite.convert_quantized(ptq.calibrate(network, arguments, [images], chosen), arguments)
        files.append(folder / f"{model}_{number}_{recipe}.tflite")
        files[-1].write_bytes(content)
    withheld = time_files(files, runs, amx_allowed=False)
    allowed = time_files(files, runs, amx_allowed=True) if amx.supported() else [None] * len(files)
    return [
        Row(
            model, recipe, chosen, file.stat().st_size, partitions(file.read_bytes())[0], without, with_amx,
            without / withheld[0],
        )
        for (recipe, chosen), file, without, with_amx in zip(variants(), files, withheld, allowed, strict=True)
    ]  # fmt: skip


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
    parser.add_argument("--model", nargs="+", default=models.names(), choices=models.names())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for model in options.model:
                rows += run(model, options.runs, Path(folder))
    except EdgeCNNError as error:
        print(f"passes: error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else text(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
