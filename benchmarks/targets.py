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

from edgecnn import models
from edgecnn.cli.made_for import measure_on
from edgecnn.data.registry import load
from edgecnn.export.candidates import Workshop
from edgecnn.export.choose import choose
from edgecnn.export.source import Source, find_weights
from edgecnn.measure import stats
from edgecnn.measure.costs import TIME, Runs, middle
from edgecnn.quantize.passes import defaults
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.runtime.files import write_bytes

COMMITTED = Path(__file__).parent / "results" / "targets.json"
TARGETS = ("x86", "cortex-a72", "cortex-a76")
CALIBRATION = 512  # images, as edgecnn quantize has it
HEADERS = (
    "model", "target", "unit", "float32", "plain", "x86 passes", "chosen", "of float32", "of plain", "bytes", "passes",
    "float layers",
)  # fmt: skip

Row = dict[str, Any]


def run(model: str, targets: Sequence[str], data: str) -> Iterator[Row]:
    """Choose for one model and each target; a row is the record that the manifest would hold."""
    dataset = load(data)
    source = Source(*find_weights(model, dataset), dataset, CALIBRATION)
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(source, Path(folder), _say)
        for target in targets:
            choice = choose(workshop, target, measure_on(target, _say))
            yield {"model": model, "data": data} | asdict(choice.made_for)


def costs(row: Row) -> dict[str, Runs]:
    """Runs of the chosen float32 file, the plain conversion, static_w8a8 with the passes of x86, and the chosen file.

    Those that were measured by turns, where there are such, otherwise the screening.
    """
    found = {"float32": _find(row, recipe=FLOAT32.name, chosen=True), "chosen": _chosen(row)}
    for name, wanted in (("plain", ()), ("x86 passes", _effective(row))):
        found[name] = _find(row, recipe=STATIC_W8A8.name, float_layers=(), passes=wanted)
    return {name: tuple(trial["runs"] or trial["screened"]) for name, trial in found.items()}


def text(rows: Sequence[Row]) -> str:
    """A line for each model and target; times with the 95 % intervals of their ratios."""
    cells = []
    for row in rows:
        known, chosen = costs(row), _chosen(row)
        shown = ["{:,.0f}" if row["kind"] != TIME else "{:,.1f}"] * 4
        figures = [form.format(middle(known[name])) for form, name in zip(shown, HEADERS[3:7], strict=True)]
        ratios = [_ratio(row["kind"], known["chosen"], known[name]) for name in ("float32", "plain")]
        cells.append([
            row["model"], row["target"], "us" if row["kind"] == TIME else "instructions", *figures, *ratios,
            f"{chosen['bytes']:,}", " ".join(chosen["passes"]) or "none", " ".join(chosen["float_layers"]) or "-",
        ])  # fmt: skip
    return table(HEADERS, cells, "lllrrrrrrrll")


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


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description="Files made for a target.")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--model", nargs="+", default=models.names(), choices=models.names())
    parser.add_argument("--target", nargs="+", default=list(TARGETS))
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    rows: list[Row] = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else []
    for model in options.model if options.measure else ():
        for row in run(model, options.target, options.data):
            new = json.loads(json.dumps(row))
            rows = [each for each in rows if (each["model"], each["target"]) != (model, row["target"])] + [new]
            rows.sort(key=lambda each: (TARGETS.index(each["target"]), models.names().index(each["model"])))
            if options.record:
                write_bytes(COMMITTED, json.dumps(rows).encode() + b"\n")
    wanted = [row for row in rows if row["model"] in options.model and row["target"] in options.target]
    print(json.dumps(wanted, indent=2) if options.json else text(wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
