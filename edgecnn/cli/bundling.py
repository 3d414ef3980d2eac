"""What ``quantize`` and ``export`` share: loading the model, making the bundle, and the table at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgecnn.cli import made_for, max_drop
from edgecnn.cli.options import print_json
from edgecnn.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from edgecnn.checkpoint import Header
    from edgecnn.export.drafts import Order
    from edgecnn.export.judge import Judged
    from edgecnn.export.mixed import Outcome
    from edgecnn.export.source import Source
    from edgecnn.models import Normalization
    from edgecnn.quantize.qat import Trained
    from edgecnn.quantize.recipe import Recipe

RECORDED_ALREADY = "--mean and --std are recorded with these weights already; leave them away"
weights_option = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="A .safetensors file, or, for a model from outside, a .pth with a state dict. Default: the weights that ship, "
    "or those that a function of yours gives the model.",
)
passes_option = click.option(
    "--passes", metavar="NAMES", help="Rewrites of the TFLite graph, with commas, or 'none'. Default: fastest on x86."
)
sign_option = click.option(
    "--sign", metavar="KEY", type=click.Path(path_type=Path), help="Sign the bundle with this Ed25519 key (PEM)."
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
    calibration: int | Literal["synthetic"],
    out: Path | None,
    force: bool,
    as_json: bool,
    sign: Path | None,
    equalize: bool = False,
    trained: Callable[[Source, tuple[str, ...]], Trained] | None = None,
    float_layers: str | None = None,
    search: Callable[[Order, Source], Outcome] | None = None,
    target: str | None = None,
) -> None:
    """Everything after the options of ``quantize`` and ``export`` are read.

    ``trained`` gives weights that were trained for ``recipe``, from the source and the rewrites that were chosen, and
    ``search`` the layers of the TFLite file that are to stay float32. ``target`` is what the TFLite files are made for;
    check_target let it pass.
    """
    from edgecnn.export.bundle import write_bundle
    from edgecnn.export.drafts import check_layers, orders
    from edgecnn.export.torchscript import DEFAULT_ENGINE
    from edgecnn.models import short_name
    from edgecnn.quantize.passes import defaults
    from edgecnn.runtime.files import refuse_existing
    from edgecnn.runtime.signature import signer

    signing = None if sign is None else signer(sign)
    rewrites = None if passes is None else tuple(split_names(passes))
    kept = tuple(split_names(float_layers or ""))
    wanted = orders(split_names(formats), recipe, rewrites, engine or DEFAULT_ENGINE, kept)
    if equalize:
        if recipe.weight_bits > 8:
            raise UsageError(f"--equalize is for recipes with weights of 8 bits or less, not for {recipe.name}")
        wanted = [order.equalized() for order in wanted]
    if out is not None:
        refuse_existing(out, force)
    measure = None if target is None else made_for.measure_on(target, say)
    own = normalization_from(mean, std)
    if calibration == "synthetic":
        if trained is not None:
            raise UsageError("--qat and --qat-weights need a data set; give --calibration a number, not 'synthetic'")
        source = make_source(model, weights, data, image, own)
    else:
        source = load_source(model, weights, data, on_broken, calibration, image, own)
    check_layers(kept, source.model, source.arguments)
    suffix = "-synthetic" if source.held_out is not None else "" if trained is None else "-qat"
    folder = out or Path(f"{short_name(model)}-{Path(source.dataset.name).name}-{recipe.name}{suffix}")
    if trained is not None or search is not None or target is not None:
        refuse_existing(folder, force)
    if trained is not None:
        chosen = next(order.rewrites for order in wanted if order.recipe is recipe)
        source = replace(source, trained=trained(source, defaults(recipe) if chosen is None else chosen))
    outcome, record = None, None
    if search is not None:
        wanted, outcome = max_drop.with_layers(wanted, source, search, as_json)
    if target is not None and measure is not None:
        wanted, record = made_for.chosen(wanted, target, measure, source)
    judged = write_bundle(wanted, recipe, source, folder, force=force, say=say, made_for=record, sign=signing)
    failures = [each for each in judged if each.failure is not None]
    if as_json:
        found: dict[str, Any] = {} if outcome is None else {"max_drop": max_drop.document(outcome)}
        found |= {} if record is None else {"made_for": asdict(record)}
        print_json(document(judged, recipe, source, folder) | found)
    else:
        click.echo(text(judged, source, folder))
        if outcome is not None:
            click.echo("\n" + max_drop.text(outcome, model))
        if record is not None:
            click.echo("\n" + made_for.text(record, wanted[0].file(source.header.model)))
    if outcome is not None:
        max_drop.check_proven(outcome, judged)
    if failures:
        raise CheckFailedError(f"{len(failures)} of {len(judged)} files failed: {failures[0].failure}")


def normalization_from(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Normalization | None:
    """What --mean and --std say together. Raises UsageError where there is one without the other."""
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
    from edgecnn.export.source import Source, find_weights, foreign_weights

    models.check(model)
    foreign = models.is_own(model) and (weights is None or not checkpoint.has_header(weights))
    loaded = None if weights is None or foreign else checkpoint.load_model(weights, model)
    if loaded is not None:
        image = _recorded_size(loaded[1], weights, image)
    if normalization is not None and not foreign:
        raise UsageError(RECORDED_ALREADY)
    dataset = registry.load(data, image=image, on_broken=on_broken)
    if dataset.note:
        click.secho(dataset.note, err=True, bold=True)
    if foreign:
        if weights is None:
            say(f"no --weights: taking those that {model} gives the model")
        if image is None and data not in registry.names():
            say(f"no --image-size: images are brought to {_size(dataset.image)}, whatever {model} was trained on")
        network, header = foreign_weights(model, weights, dataset, normalization)
    else:
        network, header = loaded or find_weights(model, dataset)
    return Source(network, header, dataset, calibration)


def make_source(
    model: str,
    weights: Path | None,
    data: str,
    image: tuple[int, int, int] | None = None,
    normalization: Normalization | None = None,
) -> Source:
    """The model, and images made from it instead of a data set; ``data`` only says which shipped weights are meant.

    Raises UsageError for names and files that are not there or do not fit, where 'auto' leaves the weights open, and
    for weights that do not say what classes and images they are for.
    """
    from edgecnn import checkpoint, models
    from edgecnn.export.source import shipped_weights, without_data

    models.check(model)
    if models.is_own(model) and (weights is None or (weights.is_file() and not checkpoint.has_header(weights))):
        raise UsageError(
            "--calibration synthetic needs weights that 'edgecnn train' wrote, since they say what classes and images "
            f"'{model}' is for; give those as --weights, or calibrate on images"
        )
    if normalization is not None:
        raise UsageError(RECORDED_ALREADY)
    if weights is not None:
        network, header = checkpoint.load_model(weights, model)
        _recorded_size(header, weights, image)
        if data not in ("auto", header.dataset):
            raise UsageError(f"{weights} was trained on {header.dataset}, not on {data}; leave --data out")
    elif data == "auto":
        raise UsageError(
            "--calibration synthetic reads no data set, so '--data auto' cannot choose the weights; give --data NAME "
            "for those that ship (edgecnn models lists them), or --weights FILE"
        )
    else:
        network, header = shipped_weights(model, data)
        _recorded_size(header, "these weights", image)
    say(f"making images from the weights of {model}; no data set is read")
    source = without_data(network, header)
    click.secho(source.dataset.note, err=True, bold=True)
    return source


def _recorded_size(header: Header, weights: object, image: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """Height, width and channels that ``weights`` are for. Raises UsageError if ``image`` says something else."""
    arguments = header.arguments
    recorded = (*arguments.image_size, arguments.in_channels)
    if image not in (None, recorded):
        raise UsageError(f"{weights} is for images of {_size(recorded)}, not {_size(image)}; leave --image-size away")
    return recorded


def _size(image: tuple[int, ...] | None) -> str:
    return "x".join(map(str, image or ()))


def document(judged: list[Judged], recipe: Recipe, source: Source, folder: Path) -> dict[str, Any]:
    """The JSON document; accuracies and agreements are shares 0 to 1, changes are points.

    ``quantized`` is the bundle's main file and ``agreement`` its own; ``export`` quantizes nothing and has neither.
    Without a data set accuracies are null, and agreement and ``sqnr_db`` are against PyTorch's float model on
    ``images`` synthetic images.
    ``qat`` is there where weights were trained: how, and the file they are in.
    """
    from edgecnn.export.judge import comparison

    rows = []
    for each in judged:
        row: dict[str, Any] = {
            "file": each.file, "format": each.order.format, "recipe": each.order.recipe.name,
            "milliseconds": round(each.milliseconds), "failure": each.failure, "passes": list(each.rewrites),
            "float_layers": [] if each.artifact is None else list(each.artifact.float_layers),
        }  # fmt: skip
        if each.artifact is not None and each.score is not None:
            row |= {
                "bytes": each.artifact.bytes, "accuracy": each.score.accuracy, "images": each.score.images,
                "gate": each.artifact.gate, "engine": each.artifact.engine, "float_operations": float_operations(each),
            }  # fmt: skip
        if each.artifact is not None and each.likeness is not None:
            row |= {
                "bytes": each.artifact.bytes, "accuracy": None, "images": each.likeness.images,
                "agreement": each.likeness.agreement, "sqnr_db": each.likeness.sqnr_db, "gate": each.artifact.gate,
                "engine": each.artifact.engine,
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
    if source.trained is not None and source.qat is not None:
        result["qat"] = asdict(source.qat) | {"weights": str(source.trained.source)}
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

    if source.held_out is not None:
        return likeness_text(judged, source, source.held_out, folder)
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
    trained = [] if source.trained is None else [f"weights {source.trained.source}"]
    return "\n".join([
        *note,
        title,
        "",
        table(headers, rows, "llrrrrr"),
        "",
        *sorted(floats),
        *failures,
        *trained,
        *float_lines(judged),
        f"bundle {folder}",
    ])  # fmt: skip


def float_lines(judged: list[Judged]) -> list[str]:
    """For each quantized file that is not int8 throughout, a line that says which layers stayed float32."""
    mixed = [each.artifact for each in judged if each.artifact is not None and each.artifact.float_layers]
    return [
        f"{each.file}: {len(each.float_layers)} {'layer' if len(each.float_layers) == 1 else 'layers'} float32: "
        f"{', '.join(each.float_layers)}"
        for each in mixed
    ]


def likeness_text(judged: list[Judged], source: Source, held_out: np.ndarray, folder: Path) -> str:
    """What a person reads where there was no data set."""
    from edgecnn.report.table import table

    title = (
        f"{source.header.model}, accuracy unknown; agreement and SQNR of the logits against float on {len(held_out)} "
        f"synthetic images, other ones than the {source.calibration.images} that calibrated"
    )
    rows, failures = [], []
    for each in judged:
        start, took = [each.file, each.order.recipe.name], f"{each.milliseconds:,.0f}"
        if each.artifact is None or each.likeness is None:
            rows.append([*start, "-", "FAILED", "-", "-", took])
            failures.append(f"{each.file}: {each.failure}")
            continue
        noise = "exact" if each.likeness.sqnr_db is None else f"{each.likeness.sqnr_db:.1f}"
        agreement = f"{100 * each.likeness.agreement:.2f} %"
        rows.append([*start, f"{each.artifact.bytes:,}", "unknown", agreement, noise, took])
    return "\n".join([
        source.dataset.note,
        title,
        "",
        table(["file", "recipe", "bytes", "accuracy", "agreement", "SQNR dB", "ms to make"], rows, "llrrrrr"),
        "",
        *failures,
        *float_lines(judged),
        f"bundle {folder}",
    ])  # fmt: skip
