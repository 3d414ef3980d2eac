"""The pictures of ``experiments.ipynb``: training curves, accuracy against cost, confusion."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.compared import FLOAT, PLAIN, QUANTIZED, Compared

COLORS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8a5fbf")
MARKERS = {FLOAT: "o", PLAIN: "^", QUANTIZED: "s"}
DOTS_PER_INCH = 80
SURE = 0.15  # of a class's images in one wrong class: worth its number in a confusion matrix


@dataclass(frozen=True)
class Picture:
    """A PNG that a notebook shows; the same bytes at every call. ``title`` is what it says of itself as text."""

    title: str
    png: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.png


def learning(compared: Compared, models: Sequence[str]) -> Picture:
    """Training loss and accuracy on images held out, epoch by epoch, and test accuracy against latency.

    Lines are means over the seeds, bands reach from the lowest to the highest.
    """
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    loss, held_out, speed = figure.subplots(1, 3)
    for color, model in zip(COLORS, models, strict=False):
        curves = [row["curve"] for row in compared.trained(model)]
        for axes, name, scale in ((loss, "loss", 1), (held_out, "validation_accuracy", 100)):
            values = scale * np.array([[point[name] for point in curve] for curve in curves])
            epochs = np.arange(1, values.shape[1] + 1)
            axes.plot(epochs, values.mean(0), color=color, label=model)
            axes.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
        for kind in (FLOAT, QUANTIZED):
            _point(speed, compared, model, kind, color)
    loss.set(xlabel="epoch", ylabel="training loss")
    held_out.set(xlabel="epoch", ylabel="held-out accuracy, %")
    speed.set(xlabel="microseconds an image", ylabel="test accuracy, %")
    held_out.legend(fontsize=8)
    return _picture(figure, f"learning of {', '.join(models)}")


def _point(axes: Axes, compared: Compared, model: str, kind: str, color: str) -> None:
    """Test accuracy against latency, as a circle for float32, a square for static_w8a8, if both are known."""
    runs, accuracies = compared.runs(model, kind), [*compared.accuracies(model, kind).values()]
    if not runs or not accuracies:
        return
    middle = float(np.mean(accuracies))
    reach = [[middle - min(accuracies)], [max(accuracies) - middle]]
    filled = color if kind == QUANTIZED else "white"
    axes.errorbar(np.median(runs), middle, reach, color=color, marker=MARKERS[kind], mfc=filled, capsize=2)
    axes.annotate(kind, (np.median(runs), middle), (4, 4), textcoords="offset points", fontsize=7, color=color)


def map_of_costs(compared: Compared) -> Picture:
    """Test accuracy of all variants against MACs and against parameters."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("macs", "parameters"), strict=True):
        for model in compared.models:
            values = [*compared.accuracies(model).values()]
            middle, cost = float(np.mean(values)), compared.cost(model, name)
            reach = [[middle - min(values)], [max(values) - middle]]
            axes.errorbar(cost, middle, reach, color=_color(model), marker="o", capsize=2)
            axes.annotate(model, (cost, middle), (5, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel=name, ylabel="float32 test accuracy, %", xscale="log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.15)
    return _picture(figure, f"accuracy of {len(compared.models)} variants against MACs and parameters")


def _color(model: str) -> str:
    families = ("lenet", "mod_cnn", "depthwise", "depth_res")
    return COLORS[next(place for place, family in enumerate(families) if model.startswith(family))]


def confusions(compared: Compared, models: Sequence[str], classes: Sequence[str]) -> Picture:
    """Of each true class (rows) the share taken for each class (columns), in per cent, over all seeds."""
    figure = Figure(figsize=(4 * len(models), 4.2), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        shares = compared.confusion(model)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*shares.shape):
            if row == column or shares[row, column] >= SURE:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(
                    column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color
                )
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(len(classes)), classes, fontsize=8)
        axes.set_title(model, fontsize=9)
    return _picture(figure, f"confusion of {', '.join(models)}")


def latencies(compared: Compared) -> Picture:
    """Microseconds an image of each variant's three files."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots()
    shades: Mapping[str, str] = {FLOAT: "#b8c4cc", PLAIN: "#7aa6c2", QUANTIZED: "#1b6ca8"}
    for place, (kind, color) in enumerate(shades.items()):
        heights = [float(np.median(runs)) if (runs := compared.runs(model, kind)) else 0 for model in compared.models]
        axes.bar(np.arange(len(heights)) + 0.27 * (place - 1), heights, 0.25, color=color, label=kind)
    axes.set_xticks(range(len(compared.models)), compared.models, fontsize=8, rotation=15)
    axes.set_ylabel("microseconds an image")
    axes.legend(fontsize=8)
    return _picture(figure, f"latency of {len(compared.models)} variants")


def _picture(figure: Figure, title: str) -> Picture:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return Picture(title, content.getvalue())
