"""Files made for a target: ``python -m benchmarks.targets [--measure] [--record] [--model NAME...] [--target ...]``.

Prints the committed table. With ``--measure`` it is made anew from the shipped weights, as ``edgecnn quantize --for``
makes its bundles: on x86 in time on this machine, on the ARM cores in instructions under the emulator. No test image
is read. ``--record`` puts the rows into the committed results in place of those of the same model and target.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.committed import Results, Row
from edgecnn import models
from edgecnn.cli.made_for import measure_on
from edgecnn.data.registry import load
from edgecnn.export.candidates import Workshop
from edgecnn.export.choose import choose
from edgecnn.export.source import Source, find_weights
from edgecnn.measure import stats
from edgecnn.measure.costs import TIME, Runs, middle
from edgecnn.quantize.passes import defaults
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, FLOAT32, STATIC_W8A8
from edgecnn.report.table import markdown_table

TARGETS = ("x86", "cortex-a72", "cortex-a76")
COSTS = ("float32", "plain", "x86", "chosen")
HEADERS = (
    "model", "target", "float32", "plain", "x86's passes", "chosen", "of float32", "of plain", "bytes", "passes",
    "float layers",
)  # fmt: skip


def run(model: str, targets: Sequence[str], data: str) -> Iterator[Row]:
    """Choose for one model and each target; a row is the record that the manifest would hold."""
    dataset = load(data)
    source = Source(*find_weights(model, dataset.name), dataset, CALIBRATION_IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(source, Path(folder), _say)
        for target in targets:
            choice = choose(workshop, target, measure_on(target, _say))
            made_for: Row = json.loads(json.dumps(asdict(choice.made_for)))  # tuples become the lists of a file
            yield {"model": model} | made_for


def costs(row: Row) -> dict[str, Runs]:
    """Runs of the chosen float32 file, the plain conversion, static_w8a8 with the passes of x86, and the chosen file.

    Those that were measured by turns, where there are such, otherwise the screening.
    """
    found = {"float32": _find(row, recipe=FLOAT32.name, chosen=True), "chosen": _chosen(row)}
    for name, wanted in (("plain", ()), ("x86", _effective(row))):
        found[name] = _find(row, recipe=STATIC_W8A8.name, float_layers=(), passes=wanted)
    return {name: tuple(trial["runs"] or trial["screened"]) for name, trial in found.items()}


def text(rows: Sequence[Row]) -> str:
    """A table in Markdown, by target: x86 in microseconds, ratios with 95 % intervals; ARM in thousand instructions."""
    lines = []
    for row in sorted(rows, key=lambda row: TARGETS.index(row["target"])):
        known, chosen, timed = costs(row), _chosen(row), row["kind"] == TIME
        figures = [f"{middle(known[name]):.1f}" if timed else f"{middle(known[name]) / 1000:,.0f}" for name in COSTS]
        ratios = [_ratio(row["kind"], known["chosen"], known[name]) for name in ("float32", "plain")]
        names = [" ".join(chosen[each]) or "none" for each in ("passes", "float_layers")]
        lines.append([f"`{row['model']}`", row["target"], *figures, *ratios, f"{chosen['bytes']:,}", *names])
    return markdown_table(HEADERS, lines, "llrrrrrrr")


def _ratio(kind: str, first: Runs, second: Runs) -> str:
    share = f"{middle(first) / middle(second):.2f}"
    interval = stats.ratio_interval(first, second) if kind == TIME and first != second else None
    return share if interval is None else f"{share} ({interval.low:.2f} to {interval.high:.2f})"


def _chosen(row: Row) -> Row:
    return _find(row, recipe=STATIC_W8A8.name, chosen=True)


def _effective(row: Row) -> tuple[str, ...]:
    """The passes of x86 that do something to this model: the largest set of them that was tried."""
    usual = set(defaults(STATIC_W8A8))
    tried = [tuple(trial["passes"]) for trial in row["trials"] if set(trial["passes"]) <= usual]
    return max(tried, key=len)


def _find(row: Row, **wanted: Any) -> Row:
    for trial in row["trials"]:
        if all((tuple(trial[name]) if isinstance(value, tuple) else trial[name]) == value
               for name, value in wanted.items()):  # fmt: skip
            return dict(trial)
    raise ValueError(f"{row['model']} on {row['target']} has no trial with {wanted}; measure again")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


RESULTS = Results("targets.json", ("model", "target"), text)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description="Files made for a target.")
    parser.add_argument("--model", nargs="+", default=models.names(), choices=models.names())
    parser.add_argument("--target", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--data", default="cifar10")

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        for model in options.model:
            yield from run(model, options.target, options.data)

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
