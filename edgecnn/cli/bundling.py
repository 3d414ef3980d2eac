"""What ``quantize`` and ``export`` share: loading the model, making the bundle, and the table at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli.options import print_json
from edgecnn.errors import CheckFailedError

if TYPE_CHECKING:
    from edgecnn.export.judge import Judged
    from edgecnn.export.source import Source
    from edgecnn.models import Normalization
    from edgecnn.quantize.recipe import Recipe

weights_option = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A .safetensors file, or, for a model from outside, a .pth with a state dict. Default: the weights that ship, "
    "or those that a function of yours gives the model.",
)
passes_option = click.option(
    "--passes", metavar="NAMES", help="Rewrites of the TFLite graph, with commas, or 'none'. Default: fastest on x86."
)


def split_names(text: str) -> list[str]:
    """The names in a comma-separated option; 'none' and the empty text name nothing."""
    return [] if text == "none" else [name.strip() for name in text.split(",") if name.strip()]


def say(line: str) -> None:
    """Tell the person waiting what is being done."""
    click.echo(line, err=True)


def run(
    *,
    model: str,
    weights: Path | None,
    data: str,
    image: tuple[int, int, int] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    on_broken: str,
    recipe: Recipe,
    formats: str,
    passes: str | None,
    engine: str | None,
    calibration: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Everything after the options of ``quantize`` and ``export`` are read."""
    from edgecnn.export.bundle import write_bundle
    from edgecnn.export.drafts import orders
    from edgecnn.export.torchscript import DEFAULT_ENGINE
    from edgecnn.models import short_name
    from edgecnn.runtime.files import refuse_existing

    rewrites = None if passes is None else tuple(split_names(passes))
    wanted = orders(split_names(formats), recipe, rewrites, engine or DEFAULT_ENGINE)
    if out is not None:
        refuse_existing(out, force)
    source = load_source(model, weights, data, on_broken, calibration, image, normalization_from(mean, std))
    folder = out or Path(f"{short_name(model)}-{Path(source.dataset.name).name}-{recipe.name}")
    judged = write_bundle(wanted, recipe, source, folder, force=force, say=say)
    failures = [each for each in judged if each.failure is not None]
    if as_json:
        print_json(document(judged, recipe, source, folder))
    else:
        click.echo(text(judged, source, folder))
    if failures:
        raise CheckFailedError(f"{len(failures)} of {len(judged)} files failed: {failures[0].failure}")


def normalization_from(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Normalization | None:
    """What --mean and --std say together. Raises UsageError where there is one without the other."""
    from edgecnn.errors import UsageError
    from edgecnn.models import Normalization

    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise UsageError("--mean and --std are given together: the model wants (pixel / 255 - mean) / std")
    return Normalization(mean, std)


def load_source(
    model: str,
    weights: Path | None,
    data: str,
    on_broken: str,
    calibration: int,
    image: tuple[int, int, int] | None = None,
    normalization: Normalization | None = None,
) -> Source:
    """The model and its data. Raises UsageError for names and files that are not there or do not fit."""
    from edgecnn import checkpoint, models
    from edgecnn.data import registry
    from edgecnn.errors import UsageError
    from edgecnn.export.source import Source, find_weights, foreign_weights

    models.check(model)
    foreign = models.is_own(model) and (weights is None or not checkpoint.has_header(weights))
    loaded = None if weights is None or foreign else checkpoint.load_model(weights, model)
    if loaded is not None:
        arguments = loaded[1].arguments
        recorded = (*arguments.image_size, arguments.in_channels)
        if image not in (None, recorded):
            raise UsageError(
                f"{weights} is for images of {_size(recorded)}, not {_size(image)}; leave --image-size away"
            )
        image = recorded
    if normalization is not None and not foreign:
        raise UsageError("--mean and --std are recorded with these weights already; leave them away")
    dataset = registry.load(data, image=image, on_broken=on_broken)
    if dataset.note:
        click.secho(dataset.note, err=True, bold=True)
    if foreign:
        if weights is None:
            say(f"no --weights: taking those that {model} gives the model")
        network, header = foreign_weights(model, weights, dataset, normalization)
    else:
        network, header = loaded or find_weights(model, dataset)
    return Source(network, header, dataset, calibration)


def _size(image: tuple[int, ...] | None) -> str:
    return "x".join(map(str, image or ()))


def document(judged: list[Judged], recipe: Recipe, source: Source, folder: Path) -> dict[str, Any]:
    """The JSON document; accuracies and agreements are shares 0 to 1, changes are points.

    ``quantized`` is the bundle's main file and ``agreement`` its own; ``export`` quantizes nothing and has neither.
    """
    from edgecnn.export.judge import comparison

    rows = []
    for each in judged:
        row: dict[str, Any] = {
            "file": each.file, "format": each.order.format, "recipe": each.order.recipe.name,
            "milliseconds": round(each.milliseconds), "failure": each.failure, "passes": list(each.rewrites),
        }  # fmt: skip
        if each.artifact is not None and each.score is not None:
            row |= {
                "bytes": each.artifact.bytes, "accuracy": each.score.accuracy, "images": each.score.images,
                "gate": each.artifact.gate, "engine": each.artifact.engine, "float_operations": float_operations(each),
            }  # fmt: skip
        against = comparison(judged, each.file)
        if against is not None:
            row |= {
                "change_points": against.change, "change_interval_points": list(against.interval),
                "agreement": against.agreement,
            }  # fmt: skip
        rows.append(row)
    result = {
        "model": source.header.model,
        "dataset": source.dataset.name,
        "note": source.dataset.note,
        "bundle": str(folder),
        "float": next((row for row in rows if row["recipe"] == "float32" and "accuracy" in row), None),
        "files": rows,
    }
    if recipe.name != "float32":
        main = next(row for row in rows if row["recipe"] == recipe.name)
        result |= {"quantized": main, "agreement": main.get("agreement")}
    return result


def float_operations(judged: Judged) -> str:
    """The operations of a file that have no int8 kernel and stay float, with commas; empty where there are none."""
    return str((judged.artifact.gate if judged.artifact else {}).get("float_operations", ""))


def text(judged: list[Judged], source: Source, folder: Path) -> str:
    """What a person reads."""
    from edgecnn.export.judge import comparison
    from edgecnn.report.table import table

    title = f"{source.header.model} on the {len(source.dataset.test):,} test images of {source.dataset.name}"
    rows, failures = [], []
    for each in judged:
        start = [each.file, each.order.recipe.name]
        took = f"{each.milliseconds:,.0f}"
        if each.artifact is None or each.score is None:
            rows.append([*start, "-", "FAILED", "-", "-", took])
            failures.append(f"{each.file}: {each.failure}")
            continue
        against = comparison(judged, each.file)
        change, agreement = "-", "-"
        if against is not None and against.first is not against.second:
            low, high = against.interval
            change, agreement = f"{against.change:+.2f} ({low:+.2f} to {high:+.2f})", f"{100 * against.agreement:.2f} %"
        accuracy = f"{100 * each.score.accuracy:.2f} %"
        rows.append([*start, f"{each.artifact.bytes:,}", accuracy, change, agreement, took])
    if any(row[-2] != "-" for row in rows):
        title += "; change and agreement against the float32 TFLite file"
    headers = ["file", "recipe", "bytes", "accuracy", "change in points (95 %)", "agreement", "ms to make"]
    note = [source.dataset.note] if source.dataset.note else []
    floats = {f"{each.file}: float operations: {named}" for each in judged if (named := float_operations(each))}
    return "\n".join([
        *note,
        title,
        "",
        table(headers, rows, "llrrrrr"),
        "",
        *sorted(floats),
        *failures,
        f"bundle {folder}",
    ])  # fmt: skip
