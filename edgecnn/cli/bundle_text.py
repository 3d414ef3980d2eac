"""What ``quantize`` and ``export`` say of the files they made: a JSON document, or a table for a person."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from edgecnn.export.judge import Judged
    from edgecnn.export.source import Source
    from edgecnn.quantize.recipe import Recipe


def document(judged: list[Judged], recipe: Recipe, source: Source, folder: Path) -> dict[str, Any]:
    """The JSON document; accuracies and agreements are shares 0 to 1, changes are points.

    ``quantized`` is the bundle's main file and ``agreement`` its own; ``export`` quantizes nothing and has neither.
    Without a data set accuracies are null, and agreement and ``sqnr_db`` are against PyTorch's float model on
    ``images`` synthetic images. ``mirrored`` says whether files look at each image and at its mirror image.
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
        "mirrored": source.mirrored,
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
    title = f"{_network(source)} on the {len(source.dataset.test):,} test images of {source.dataset.name}"
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


def _network(source: Source) -> str:
    """What was asked about each image."""
    return source.header.model + (" (each image and its mirror image)" if source.mirrored else "")


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
        f"{_network(source)}, accuracy unknown; agreement and SQNR of the logits against float on {len(held_out)} "
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
