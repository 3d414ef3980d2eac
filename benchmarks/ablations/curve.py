"""The picture of where training saturates: ``python -m benchmarks.ablations.curve [--write]``.

It is drawn from what ``benchmarks.ablations.length`` has committed. Without ``--write`` the SVG is printed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

from benchmarks.ablations import length
from benchmarks.committed import FOLDER, Row
from edgecnn.report.charts.frame import (
    EDGE,
    WIDE,
    Heading,
    Series,
    axis_x,
    axis_y,
    chart,
    headline,
    left_of,
    legend,
    series_entries,
)
from edgecnn.report.charts.marks import mark
from edgecnn.report.charts.scale import Scale, widened
from edgecnn.report.charts.theme import FAMILY, LIGHT, fixed_style
from edgecnn.report.markup import Markup, join, tag
from edgecnn.report.numbers import tick
from edgecnn.runtime.files import write_bytes

PICTURE = FOLDER / "ablations_length.svg"
PLOT = 260.0  # pixels of height
Means = dict[int, float]  # per cent by epochs


def drawn(rows: Sequence[Row]) -> Markup:
    """An SVG that stands alone, one line for each model, optimizer and teacher; the axis of epochs is logarithmic."""
    curves = _curves(rows)
    series = [Series(name, number, number) for number, name in enumerate(curves)]
    told = "; ".join(f"{name}: {_told(means)}" for name, means in curves.items())
    heading = Heading("Accuracy by the length of training", "training images held out, mean of the seeds", told)
    head, down = headline(heading, WIDE)
    key, down = legend(series_entries(series), WIDE, down)
    top, bottom = down + 26, down + 26 + PLOT
    values = [value for means in curves.values() for value in means.values()]
    epochs = [count for means in curves.values() for count in means]
    y = Scale(*widened(min(values), max(values), log=False), bottom, top)
    x = Scale(*widened(min(epochs), max(epochs), log=True, least=2), left_of(y, tick), WIDE - EDGE - 14, log=True)
    return chart(
        heading, WIDE, bottom + 46, tag("style", Markup(fixed_style(LIGHT, FAMILY))),
        tag("rect", width=WIDE, height=bottom + 46, fill=LIGHT["ground"]), head, key,
        axis_x(x, top, bottom, "epochs", tick), axis_y(y, x.start, x.end, "accuracy, %", tick),
        *(_line(means, each, x, y) for means, each in zip(curves.values(), series, strict=True)),
    )  # fmt: skip


def _curves(rows: Sequence[Row]) -> dict[str, Means]:
    """Mean accuracies by what a legend says, from the shortest training on."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in sorted(rows, key=lambda row: (*length.way(row), row["epochs"])):
        name = f"{row['model']}, {row['optimizer']}, {'with a teacher' if row['teacher'] else 'labels alone'}"
        found.setdefault(name, {}).setdefault(row["epochs"], []).append(100 * row["accuracy"])
    return {name: {count: statistics.mean(all_) for count, all_ in curve.items()} for name, curve in found.items()}


def _told(means: Means) -> str:
    return ", ".join(f"{value:.2f} % in {count} epochs" for count, value in means.items())


def _line(means: Means, series: Series, x: Scale, y: Scale) -> Markup:
    places = [(x.at(count), y.at(value)) for count, value in means.items()]
    path = "M" + "L".join(f"{right:.1f} {down:.1f}" for right, down in places)
    marks = [mark(series.shape, *place, class_=f"fill{series.colour} halo") for place in places]
    return join(tag("path", d=path, class_=f"curve line{series.colour}"), *marks)


def main(words: list[str] | None = None) -> int:
    """Print the picture, or write it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations.curve", description="Where it saturates.")
    parser.add_argument("--write", action="store_true")
    picture = drawn(length.RESULTS.rows())
    if parser.parse_args(words).write:
        write_bytes(PICTURE, f"{picture}\n".encode())
    else:
        print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
