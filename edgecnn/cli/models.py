"""``edgecnn models``: the architectures, and the trained weights that ship with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli.options import json_option, print_json
from edgecnn.errors import UsageError

if TYPE_CHECKING:
    from edgecnn.checkpoint import Header


@click.command(name="models")
@json_option
def command(as_json: bool) -> None:
    """List the models: name, size, work for one image, and the trained weights that come with edgecnn.

    Parameters and multiply-accumulates (MACs) are for 10 classes and images of 32x32x3.
    """
    from edgecnn import models

    entries = [describe(name) for name in models.names()]
    if as_json:
        print_json(entries)
    else:
        click.echo(text(entries))


def describe(name: str) -> dict[str, Any]:
    """The JSON entry of a model; accuracies are shares 0 to 1 of the test images.

    ``training`` is that of the command, ``in_all`` adds those of the weights that it began with.
    A registered model that cannot be built gets null for its size, and a line on standard error that says why.
    """
    from edgecnn.checkpoint import all_shipped
    from edgecnn.models import ModelArguments, cost, create
    from edgecnn.quantize.recipe import STATIC_W8A8

    entry: dict[str, Any] = {"name": name, "parameters": None, "macs": None, "weights": []}
    try:
        model = create(name)
        entry |= {"parameters": cost.parameters(model), "macs": cost.macs(model, ModelArguments())}
    except (UsageError, RuntimeError) as error:
        click.echo(f"{name}: not measured ({' '.join(str(error).split())})", err=True)
    for path, header in all_shipped(name):
        images = header.metrics.get("test_images")
        entry["weights"].append({
            "dataset": header.dataset,
            "pruned": _pruned(path, header),
            "accuracy": header.metrics.get("test_accuracy"),
            "accuracy_images": None if images is None else int(images),
            "static_w8a8_accuracy": header.metrics.get("static_w8a8_accuracy"),
            "qat": None if header.pruned_to else _trained(name, header.dataset, STATIC_W8A8.name),
            "created": header.created,
            "command": header.command,
            "training": header.training,
            "in_all": _in_all(header),
            "file": str(path),
            "bytes": path.stat().st_size,
        })  # fmt: skip
    return entry


def _in_all(header: Header) -> dict[str, float | None]:
    """Epochs and seconds from fresh weights on; None where a training on the way did not say."""
    stages = [stage.get("training", {}) for stage in header.stages()]
    known = {name: [stage.get(name) for stage in stages] for name in ("epochs", "seconds")}
    return {name: None if None in values else round(sum(values), 1) for name, values in known.items()}


def _pruned(path: Path, header: Header) -> dict[str, Any] | None:
    """What the network was pruned to, and its size then; None for a whole one."""
    from edgecnn.checkpoint import load_model
    from edgecnn.models import cost

    if not header.pruned_to:
        return None
    model, _ = load_model(path)
    return {
        "target": header.pruned_to, "parameters": cost.parameters(model), "macs": cost.macs(model, header.arguments)
    }  # fmt: skip


def _trained(model: str, dataset: str, recipe: str) -> dict[str, Any] | None:
    """What ships of the same weights trained on under quantization, if anything."""
    from edgecnn.checkpoint import load, shipped

    path = shipped(model, dataset, recipe)
    if path is None:
        return None
    header, _ = load(path)
    return {
        f"{recipe}_accuracy": header.metrics.get(f"{recipe}_accuracy"),
        "command": header.command,
        "training": header.training,
        "file": str(path),
        "bytes": path.stat().st_size,
    }


def text(entries: list[dict[str, Any]]) -> str:
    """What a person reads: a line per model and shipped weights."""
    from edgecnn.report.table import table

    headers = [
        "model", "parameters", "MACs", "trained on", "float32", "static_w8a8", "with --qat", "images", "epochs", "time",
        "date",
    ]  # fmt: skip
    rows = []
    for entry in entries:
        shown = [entry["name"], _count(entry["parameters"]), _count(entry["macs"])]
        for weights in entry["weights"]:
            training = weights["in_all"]
            if (pruned := weights["pruned"]) is not None:
                shown = [f"  pruned to {pruned['target']}", _count(pruned["parameters"]), _count(pruned["macs"])]
            rows.append([
                *shown, weights["dataset"], _share(weights["accuracy"]), _share(weights["static_w8a8_accuracy"]),
                _share((weights["qat"] or {}).get("static_w8a8_accuracy")),
                _count(weights["accuracy_images"]), _count(training.get("epochs")), _duration(training.get("seconds")),
                weights["created"][:10],
            ])  # fmt: skip
            shown = ["", "", ""]
        if not entry["weights"]:
            rows.append([*shown, *["-"] * 8])
    return table(headers, rows, "lrrlrrrrrrl")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
