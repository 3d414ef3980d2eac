"""Variants of architectures held against each other, in figures that can stand in a sentence or a table.

Rows are those of ``benchmarks/experiments.py``. What was not measured, as in the notebook's short form, is a dash.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.committed import Row
from benchmarks.variants import VARIANTS
from edgecnn.measure import stats
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.report.table import markdown_table

ACCURACY, FILE, LATENCY = "accuracy", "file", "latency"  # what a row can tell
FLOAT, PLAIN, QUANTIZED = "float32", "static_w8a8 plain", "static_w8a8"
FILES = {FLOAT: FLOAT32, PLAIN: STATIC_W8A8, QUANTIZED: STATIC_W8A8}  # that are timed; plain: without rewrites
MISSING = "-"
HEADERS = (
    "variant", "parameters", "MMAC", "float32 accuracy", "static_w8a8 accuracy", "bytes", "µs float32",
    "µs static_w8a8, plain", "µs static_w8a8", "CPU s an epoch", "seeds",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """The rows of all variants. Accuracies are in per cent of the test images, by seed."""

    rows: Sequence[Row]

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The variants that were trained, in their usual order."""
        there = {row["model"] for row in self.rows if row["what"] == ACCURACY}
        return tuple(name for name in VARIANTS if name in there)

    def trained(self, model: str) -> list[Row]:
        """The rows of a variant's trainings, by seed."""
        return self._of(ACCURACY, model)

    def accuracies(self, model: str, recipe: str = FLOAT) -> dict[int, float]:
        """Of the float network, or of the file of the other ``recipe``."""
        rows = self._of(ACCURACY if recipe == FLOAT else FILE, model)
        return {row["seed"]: 100 * row["accuracy"] for row in rows}

    def cost(self, model: str, name: str) -> int:
        """``parameters`` or ``macs`` of a variant."""
        cost: int = self.trained(model)[0][name]
        return cost

    def runs(self, model: str, kind: str) -> tuple[float, ...]:
        """Microseconds an image of one of FILES, in each round; none where it was not timed."""
        return tuple(time for row in self._of(LATENCY, model) for time in row["microseconds"].get(kind, ()))

    def accuracy(self, model: str, recipe: str = FLOAT) -> str:
        """Mean, and the lowest to the highest of several seeds."""
        return _range([*self.accuracies(model, recipe).values()], "{:.2f}", " %")

    def change(self, before: str, after: str, recipe: str = FLOAT) -> str:
        """From one variant to another: mean over the seeds that both have, and the least to the greatest."""
        first, second = (self.accuracies(model, recipe) for model in (before, after))
        return _range([second[seed] - first[seed] for seed in first if seed in second], "{:+.2f}", " points")

    def loss(self, model: str) -> str:
        """What quantization changes."""
        first, second = (self.accuracies(model, recipe) for recipe in (FLOAT, QUANTIZED))
        return _range([second[seed] - first[seed] for seed in first if seed in second], "{:+.2f}", " points")

    def share(self, before: str, after: str, name: str) -> str:
        """``parameters`` or ``macs`` of ``after`` as a multiple of those of ``before``."""
        return f"{self.cost(after, name) / self.cost(before, name):.2f} times"

    def pace(self, before: str, after: str, kind: str = QUANTIZED, kind_before: str | None = None) -> str:
        """The latency of ``after`` as a multiple of that of ``before``, with its 95 % interval."""
        first, second = self.runs(before, kind_before or kind), self.runs(after, kind)
        if not first or not second:
            return MISSING
        interval = stats.ratio_interval(second, first)
        middle = f"{np.median(second) / np.median(first):.2f} times"
        return middle if interval is None else f"{middle} ({interval.low:.2f} to {interval.high:.2f})"

    def regained(self, whole: str, less: str, back: str) -> str:
        """The share that ``back`` brings back of what ``less`` has lost against ``whole``, over the seeds all have."""
        found = [self.accuracies(model) for model in (whole, less, back)]
        shared = set.intersection(*(set(each) for each in found))
        if not shared:
            return MISSING
        top, bottom, middle = (statistics.mean(each[seed] for seed in shared) for each in found)
        return f"{100 * (middle - bottom) / (top - bottom):.0f} %" if top != bottom else MISSING

    def training(self, name: str) -> str:
        """A setting of the trainings, which is one and the same in all of them, or else the values it has."""
        values = dict.fromkeys(row[name] for row in self._of(ACCURACY))
        return ", ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in values)

    def timing(self, name: str) -> str:
        """What the run that timed the files says of itself: its ``cpu``, its ``engine``, its ``doubts``."""
        said = [row[name] for row in self._of(LATENCY)]
        words = dict.fromkeys(word for each in said for word in ([each] if isinstance(each, str) else each))
        return "; ".join(words) or "none"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, as ``confusion`` counts them."""
        return tuple(self._of(ACCURACY)[0]["classes"])

    def doubt_of_images(self) -> str:
        """Half the 95 % interval that the number of test images alone leaves an accuracy, where it is widest."""
        images = self._of(ACCURACY)[0]["images"]
        halves = [
            (bounds.high - bounds.low) / 2
            for bounds in (stats.wilson(round(images * row["accuracy"]), images) for row in self._of(ACCURACY))
        ]
        return f"{100 * max(halves):.1f} points"

    def confusion(self, model: str) -> np.ndarray:
        """Of all images of a true class (rows) the share that is taken for each class, over all seeds."""
        counts = np.sum([row["confusion"] for row in self.trained(model)], axis=0)
        return np.asarray(counts / counts.sum(axis=1, keepdims=True))

    def _of(self, what: str, model: str | None = None) -> list[Row]:
        rows = [row for row in self.rows if row["what"] == what and model in (None, row["model"])]
        return sorted(rows, key=lambda row: row["seed"])


def text(rows: Sequence[Row], models: Sequence[str] | None = None) -> str:
    """A table in Markdown, of all variants or of some: accuracies as mean (lowest to highest), medians of latencies."""
    compared = Compared(rows)
    lines = []
    for model in models or compared.models:
        trained = compared.trained(model)
        spent = [row["cpu_seconds"] for row in trained if row["cpu_seconds"] is not None]
        sizes = [row["bytes"] for row in rows if (row["what"], row["model"]) == (FILE, model)]
        timed = [compared.runs(model, kind) for kind in FILES]
        cells = [
            f"`{model}`", f"{compared.cost(model, 'parameters'):,}", f"{compared.cost(model, 'macs') / 1e6:.2f}",
            compared.accuracy(model), compared.accuracy(model, QUANTIZED), f"{sizes[0]:,}" if sizes else MISSING,
            *(f"{np.median(runs):.1f}" if runs else MISSING for runs in timed),
            f"{statistics.median(spent):.1f}" if spent else MISSING, str(len(trained)),
        ]  # fmt: skip
        lines.append(cells)
    return markdown_table(HEADERS, lines, "l".ljust(len(HEADERS), "r"))


def _range(values: Sequence[float], form: str, unit: str) -> str:
    if not values:
        return MISSING
    middle = f"{form.format(statistics.mean(values))}{unit}"
    if len(values) == 1:
        return middle
    return f"{middle} ({form.format(min(values))} to {form.format(max(values))})"
