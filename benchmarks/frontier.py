"""Accuracy for what it costs, beside what others published: ``python -m benchmarks.frontier [--picture FILE]``.

Shows the static_w8a8 and static_w4a8 TFLite files of the machine of the README's table by their bytes, with those that
no other of them beats in accuracy at no more bytes marked, and of what ``benchmarks.pruning`` made those that nothing
beats.
``--picture`` draws them. Figures of others that were not measured here come with their source.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from benchmarks import mirrored_files, pruning
from benchmarks.peers import NAME
from benchmarks.readme import BLOCK, LIMIT, README
from benchmarks.suite import ACCURACY, BENCH, RESULTS
from benchmarks.summary import Row
from edgecnn import models
from edgecnn.errors import BadFileError, EdgeCNNError
from edgecnn.measure.figures import figures
from edgecnn.measure.measurement import Session
from edgecnn.models import ModelArguments, cost
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8
from edgecnn.report.numbers import percent
from edgecnn.report.pareto import front
from edgecnn.report.table import markdown_table
from edgecnn.runtime.files import write_bytes
from edgecnn.runtime.records import decode, read_json

PEER_MACS = 12_501_632  # of MLPerf's ResNet-8: those of our resnet8, which is the same network
DRAWN_FROM = 20_000  # bytes; what little a net of fewer is right about would press the others together
MARKER = 7  # pixels from its middle that a marker covers
# Where a label may stand, in points from its marker: on the first side that is free.
SIDES = (
    ((8, 0), "left", "center"), ((-8, 0), "right", "center"), ((6, -6), "left", "top"), ((-6, 6), "right", "bottom"),
    ((6, 6), "left", "bottom"), ((-6, -6), "right", "top"), ((0, 9), "center", "bottom"), ((0, -9), "center", "top"),
)  # fmt: skip
HEADERS = ("network", "recipe", "accuracy", "bytes", "MMAC", "time, of MLPerf's ResNet-8", "not beaten")


@dataclass(frozen=True)
class Network:
    """A quantized file: its accuracy as a share of all CIFAR-10 test images, and what it costs for one image.

    ``time`` is a share of what MLPerf's ResNet-8 takes in the same run, None where the file was not in it;
    ``target`` is what the network was pruned to. A ``mirrored`` file looks at an image and its mirror image.
    """

    name: str
    accuracy: float
    bytes: int
    macs: float
    time: float | None = None
    target: str = ""
    recipe: str = STATIC_W8A8.name
    mirrored: bool = False

    @property
    def full_name(self) -> str:
        """The name with what it was pruned to, or that it is mirrored."""
        return self.name + (f", pruned to {self.target}" if self.target else "") + (", mirrored" * self.mirrored)


# MLPerf Tiny's larger image classifier, as its reference implementation reports it (github.com/mlcommons/tiny, IC02).
PUBLISHED = (Network("MLPerf Tiny's IC02", 0.9131, 512_024, 76.5e6),)


def networks(folder: Path) -> list[Network]:
    """All of one machine's committed results, what others published, and what of theirs was pruned or is mirrored and
    is not beaten; the smallest first."""
    session = Session.load(folder / BENCH)
    rows: tuple[Row, ...] = decode(tuple[Row, ...], read_json(folder / ACCURACY, LIMIT))
    files = {
        (row.case.model, row.case.recipe): (row.case.bytes, figures(row).p50)
        for row in session.measurements
        if (row.case.runtime, row.case.threads, row.case.batch) == ("litert", 1, 1) and row.runs
    }
    peer = files.get((NAME, STATIC_W8A8.name))
    if peer is None:
        raise BadFileError(f"{folder / BENCH} has no run of {NAME}; run benchmarks.suite again, with --peers")
    for row in rows:
        if (row.model, row.recipe) not in files:
            raise BadFileError(f"{folder / BENCH} has no run of {row.model} {row.recipe}; run benchmarks.suite again")
    found = [
        Network(_shown(row.model), row.quantized_accuracy, size, _macs(row.model), time / peer[1], recipe=row.recipe)
        for row in rows
        for size, time in [files[row.model, row.recipe]]
    ]
    others = [each for row in pruning.RESULTS.rows() for each in _pruned(row)]
    return with_best([*found, *PUBLISHED], [*others, *map(_mirrored, mirrored_files.RESULTS.rows())])


def with_best(networks: list[Network], others: list[Network]) -> list[Network]:
    """``networks`` and those of the ``others`` that nothing beats, the smallest first."""
    found = sorted([*networks, *others], key=lambda each: each.bytes)
    best = front([(each.bytes, each.accuracy) for each in found])
    return [each for each, unbeaten in zip(found, best, strict=True) if unbeaten or each in networks]


def _pruned(row: Mapping[str, Any]) -> Iterator[Network]:
    model, macs = row["model"], row["shares"]["macs"] * _macs(row["model"])
    yield Network(_shown(model), row["static_w8a8"], row["bytes"], macs, target=row["target"])
    if (name := STATIC_W4A8.name) in row:
        yield Network(_shown(model), row[name], row[f"{name}_bytes"], macs, target=row["target"], recipe=name)


def _mirrored(row: Mapping[str, Any]) -> Network:
    model, accuracy = row["model"], row["mirrored"] / row["images"]
    return Network(_shown(model), accuracy, row["bytes"][1], 2 * _macs(model), recipe=row["recipe"], mirrored=True)


def _shown(model: str) -> str:
    return "MLPerf Tiny's ResNet-8" if model == NAME else f"`{model}`"


def _macs(model: str) -> int:
    return PEER_MACS if model == NAME else cost.macs(models.create(model), ModelArguments())


def text(found: list[Network]) -> str:
    """The table, in Markdown."""
    best = front([(each.bytes, each.accuracy) for each in found])
    rows = []
    for each, unbeaten in zip(found, best, strict=True):
        time = "-" if each.time is None else f"{each.time:.2f}"
        cells = (each.full_name, each.recipe, percent(each.accuracy), f"{each.bytes:,}", f"{each.macs / 1e6:.2f}", time)
        rows.append((*cells, "yes" if unbeaten else ""))
    return markdown_table(HEADERS, rows, "llrrrr")


def picture(found: list[Network]) -> bytes:
    """Accuracy against bytes, of files from DRAWN_FROM on, as a PNG; a line goes through those that are not beaten."""
    found = [each for each in found if each.bytes >= DRAWN_FROM]
    best = front([(each.bytes, each.accuracy) for each in found])
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    line = [(each.bytes, 100 * each.accuracy) for each, unbeaten in zip(found, best, strict=True) if unbeaten]
    axes.step(*zip(*line, strict=True), where="post", color="#bbbbbb", zorder=0)
    for each in found:
        ours = each.name.startswith("`")
        color = "#1b6ca8" if ours else "#d1495b"
        inside = "white" if each.recipe == STATIC_W4A8.name else color
        marker = "^" if each.mirrored else "o" if ours else "s"
        axes.plot(each.bytes, 100 * each.accuracy, marker=marker, color=color, markerfacecolor=inside)
    axes.set(xscale="log", ylabel="CIFAR-10 test accuracy, %")
    kinds = "static_w8a8, static_w4a8 (hollow), mirrored (triangles)"
    axes.set_xlabel(f"bytes of the TFLite file, from {DRAWN_FROM // 1000} kB on: {kinds}")
    ticks = (25_000, 40_000, 55_000, 75_000, 100_000, 150_000, 200_000, 300_000, 500_000)
    axes.set_xticks(ticks, [f"{tick // 1000} kB" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.margins(x=0.15, y=0.1)
    _label(figure, axes, found, line)
    said = io.BytesIO()
    figure.savefig(said, format="png", dpi=110, metadata={"Software": None})
    return said.getvalue()


def _label(figure: Figure, axes: Axes, found: list[Network], steps: list[tuple[int, float]]) -> None:
    """Write the name of each network beside its place, on a side where nothing else is, if there is one.

    Those that are mirrored stand above what they are of. ``steps`` are where the line turns up.
    """
    figure.draw_without_rendering()  # now everything is where it stays
    places = [axes.transData.transform((each.bytes, 100 * each.accuracy)) for each in found]
    taken = [Bbox.from_extents(*(place - MARKER), *(place + MARKER)) for place in places]
    turns = axes.transData.transform(steps)
    for (left, low), (right, high) in itertools.pairwise(turns):
        taken += [Bbox.from_extents(left, low - 1, right, low + 1), Bbox.from_extents(right - 1, low, right + 1, high)]
    for each in found:
        if each.mirrored:
            continue
        name = f"{each.name} {each.target}".replace("`", "").strip()
        for away, across, along in SIDES:
            place = (each.bytes, 100 * each.accuracy)
            note = axes.annotate(name, place, away, textcoords="offset points", fontsize=8, ha=across, va=along)
            box = note.get_window_extent()
            free = axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
            if free and not any(box.overlaps(other) for other in taken):
                break
            note.remove()
        else:
            note = axes.annotate(name, place, SIDES[0][0], textcoords="offset points", fontsize=8)
        taken.append(note.get_window_extent())


def main(words: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frontier", description="Accuracy for bytes.")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="one machine's (default: the README's)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw it")
    options = parser.parse_args(words)
    try:
        found = networks(options.results or _of_readme())
        if options.picture:
            write_bytes(options.picture, picture(found))
    except EdgeCNNError as error:
        print(f"frontier: error: {error}", file=sys.stderr)
        return error.exit_code
    print(text(found))
    return 0


def _of_readme() -> Path:
    match = BLOCK.search(README.read_text("utf-8"))
    if match is None:
        raise BadFileError("the README has no block '<!-- results: MACHINE -->'; give --results")
    return RESULTS / match[1]


if __name__ == "__main__":
    sys.exit(main())
