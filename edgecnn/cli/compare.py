"""``edgecnn compare``: two model files or bundles on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli.options import json_option, print_json, signature_option
from edgecnn.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from edgecnn.measure.comparison import Comparison
    from edgecnn.runtime.bundle import Bundle
    from edgecnn.runtime.runner import Runner

BATCH = 100


@click.command(name="compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--data", metavar="DATA", help="Score on this data set's test images. Default: the sample in a bundle.")
@click.option("--images", type=click.IntRange(1), help="Score on the first so many images. Default: all there are.")
@signature_option
@json_option
def command(a: Path, b: Path, data: str | None, images: int | None, public_key: Path | None, as_json: bool) -> None:
    """Compare A and B on the same images: accuracy, agreement, chance, and what changed in each class.

    Each is a model file, alone or inside a bundle, or a bundle folder, which stands for its main TFLite file.
    """
    from edgecnn.measure.accuracy import score
    from edgecnn.measure.comparison import Comparison
    from edgecnn.runtime.signature import require_signature

    for path in (a, b):
        require_signature(path, public_key)
    first, second = open_side(a), open_side(b)
    with first.runner, second.runner:
        refuse_unlike(first, second)
        source = find_images(first, second, data, images)
        if source.note:
            click.secho(source.note, err=True, bold=True)
        comparison = Comparison(*(score(side.runner, source.batches()) for side in (first, second)))
    if as_json:
        print_json(document(first, second, source, comparison))
    else:
        click.echo(text(first, second, source, comparison))


@dataclass(frozen=True)
class Side:
    """One of the two: its opened file, and, when it lies in a bundle, that bundle and the file's recipe."""

    runner: Runner
    bundle: Bundle | None = None
    recipe: str | None = None


@dataclass(frozen=True)
class Images:
    """What is scored on; ``batches`` starts over at every call. ``note`` is the data set's."""

    name: str
    note: str
    labels: tuple[str, ...]
    batches: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]


def open_side(path: Path) -> Side:
    """Open a bundle folder, a file in a bundle, or a bare file. Raises BadFileError, UnknownNameError."""
    from edgecnn.runtime.artifact import open_artifact
    from edgecnn.runtime.bundle import open_bundle
    from edgecnn.runtime.manifest import MANIFEST

    folder = path if path.is_dir() else path.parent
    if not path.is_dir() and not (folder / MANIFEST).is_file():
        return Side(open_artifact(path))
    bundle = open_bundle(folder)
    artifact = bundle.artifact() if path.is_dir() else bundle.file(path.name)
    return Side(bundle.open(artifact), bundle, artifact.recipe)


def refuse_unlike(first: Side, second: Side) -> None:
    """Raise UsageError, naming the field and both values, when the two cannot be scored on the same images."""
    one, other = first.runner, second.runner
    pairs = [("classes", one.classes, other.classes), ("input size", _size(one.input.image), _size(other.input.image))]
    if first.bundle and second.bundle:
        names = [bundle.manifest.dataset.name for bundle in (first.bundle, second.bundle)]
        labels = [", ".join(bundle.labels) for bundle in (first.bundle, second.bundle)]
        pairs += [("data set", names[0], names[1]), ("labels", labels[0], labels[1])]
    for field, value, other_value in pairs:
        if value != other_value:
            raise UsageError(
                f"{field}: {value} in {one.path} but {other_value} in {other.path}; "
                "only models of the same task can be compared"
            )


def find_images(first: Side, second: Side, data: str | None, limit: int | None) -> Images:
    """The first ``limit`` test images of the data set asked for, else of the sample in A's bundle, else in B's.

    Raises UsageError when there is no sample, or the data set has other classes than the models.
    """
    bundles = [side.bundle for side in (first, second) if side.bundle is not None]
    bundle = next((each for each in bundles if each.manifest.sample is not None), bundles[0] if bundles else None)
    if data is not None:
        return _data_set_images(first, bundle, data, limit)
    if bundle is None:
        raise UsageError("neither file lies in a bundle, so there is no sample to score on; give --data DATA")
    images, labels = bundle.sample()
    end = min(limit or len(labels), len(labels))
    pieces = [slice(start, min(start + BATCH, end)) for start in range(0, end, BATCH)]
    return Images(
        f"{bundle.manifest.dataset.name} (the sample in {bundle.path})", bundle.manifest.dataset.note, bundle.labels,
        lambda: ((images[piece], labels[piece]) for piece in pieces),
    )  # fmt: skip


def _data_set_images(first: Side, bundle: Bundle | None, data: str, limit: int | None) -> Images:
    from edgecnn.data.dataset import batches
    from edgecnn.data.registry import load

    dataset = load(data, image=first.runner.input.image)
    if len(dataset.classes) != first.runner.classes:
        raise UsageError(
            f"classes: {first.runner.classes} in {first.runner.path} but {len(dataset.classes)} in data set "
            f"{dataset.name}; give --data the data set that the models were trained on"
        )
    if bundle is not None and bundle.labels != dataset.classes:
        raise UsageError(
            f"labels: {', '.join(bundle.labels)} in {bundle.path} but {', '.join(dataset.classes)} in data set "
            f"{dataset.name}; give --data the data set that the models were trained on"
        )
    return Images(
        f"{dataset.name} (test split)", dataset.note, dataset.classes, lambda: batches(dataset.test, BATCH, limit)
    )


def document(first: Side, second: Side, source: Images, comparison: Comparison) -> dict[str, Any]:
    """The JSON document; accuracies and agreement are shares 0 to 1, changes are points."""
    from edgecnn.measure.accuracy import confusion
    from edgecnn.measure.stats import wilson

    sides = {}
    for key, side, score in (("a", first, comparison.first), ("b", second, comparison.second)):
        sides[key] = {
            "file": str(side.runner.path), "format": side.runner.format, "recipe": side.recipe,
            "engine": side.runner.engine, "bytes": side.runner.path.stat().st_size,
            "accuracy": score.accuracy, "right": score.right, "interval": list(wilson(score.right, score.images)),
            "confusion": confusion(score, len(source.labels)).tolist(),
        }  # fmt: skip
    classes = [
        {"class": label, "images": row.images, "a": row.first, "b": row.second}
        for label, row in zip(source.labels, comparison.by_class(len(source.labels)), strict=True)
    ]
    return sides | {
        "images": comparison.images,
        "data": source.name,
        "note": source.note,
        "change_points": comparison.change,
        "change_interval_points": list(comparison.interval),
        "agreement": comparison.agreement,
        "mcnemar": {"only_a": comparison.only_first, "only_b": comparison.only_second, "p": comparison.p_value},
        "classes": classes,
    }


def text(first: Side, second: Side, source: Images, comparison: Comparison) -> str:
    """What a person reads."""
    from edgecnn.measure.stats import wilson
    from edgecnn.report.table import table

    rows = []
    for name, side, score in (("A", first, comparison.first), ("B", second, comparison.second)):
        low, high = wilson(score.right, score.images)
        rows.append([
            name, str(side.runner.path), side.recipe or "not recorded", f"{side.runner.path.stat().st_size:,}",
            f"{100 * score.accuracy:.2f} %", f"{100 * low:.2f} to {100 * high:.2f}",
        ])  # fmt: skip
    low, high = comparison.interval
    classes = [
        [
            label, str(row.images), _share(row.first, row.images), _share(row.second, row.images),
            f"{row.second - row.first:+d}", _mistake(row.first_mistake, source.labels),
            _mistake(row.second_mistake, source.labels),
        ]
        for label, row in zip(source.labels, comparison.by_class(len(source.labels)), strict=True)
    ]  # fmt: skip
    return "\n".join([
        f"{comparison.images:,} images of {source.name}",
        "",
        table(["", "file", "recipe", "bytes", "accuracy", "95 % interval"], rows, "lllrrr"),
        "",
        f"change     {comparison.change:+.2f} points from A to B, 95 % interval {low:+.2f} to {high:+.2f} (paired)",
        f"agreement  {100 * comparison.agreement:.2f} % of the images in the same class",
        f"chance     {_verdict(comparison)}",
        "",
        table(
            ["class", "images", "A", "B", "images gained", "A mistakes it most for", "B mistakes it most for"],
            classes, "lrrrrll",
        ),
    ])  # fmt: skip


def _verdict(comparison: Comparison) -> str:
    alone = f"A alone is right on {comparison.only_first:,} images, B alone on {comparison.only_second:,}"
    p = comparison.p_value
    likely = "could be chance" if p >= 0.05 else "is more than chance explains"
    shown = f"p = {p:.2g}" if p >= 0.0001 else "p < 0.0001"
    return f"{alone}: the difference {likely} (exact McNemar test, {shown})"


def _size(image: tuple[int, int, int]) -> str:
    return "x".join(map(str, image))


def _share(right: int, images: int) -> str:
    return f"{100 * right / images:.1f} %" if images else "-"


def _mistake(mistake: tuple[int, int] | None, labels: tuple[str, ...]) -> str:
    return "-" if mistake is None else f"{labels[mistake[0]]} ({mistake[1]})"
