"""How each shipped weight is made again, and how long that took: ``python -m benchmarks.reproduce [--data NAME...]``.

All of it is what the headers of the weights say, and of teachers and weights gone on from that are not shipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import checkpoint, models
from edgecnn.checkpoint import SUFFIX, Header
from edgecnn.report.markdown import code
from edgecnn.report.table import markdown_table
from edgecnn.train.distill import TOGETHER

HEADERS = ("weights", "learn from", "test accuracy", "epochs", "training", "command")
DIGITS = 8  # of a digest, to tell weights that have no other name from others


@dataclass(frozen=True)
class Shipped:
    """A weights file, with the ``header`` and the ``digest`` it has."""

    path: Path
    header: Header
    digest: str

    @property
    def name(self) -> str:
        """That of the file, which is the model's and, after a dot, the recipe's or what it was pruned to."""
        return self.path.name.removesuffix(SUFFIX)


def shipped(dataset: str, folder: Path) -> list[Shipped]:
    """All weights for a data set, in the order of the models, what is pruned and then what is quantized last."""
    found = []
    for path in folder.glob(f"{dataset}/*{SUFFIX}"):
        header, tensors = checkpoint.load(path)
        found.append(Shipped(path, header, checkpoint.digest(tensors)))
    order = {name: place for place, name in enumerate(models.names())}
    return sorted(
        found,
        key=lambda each: (
            bool(each.header.quantization),
            each.header.pruned_to,
            order.get(each.header.model, len(order)),
            each.path.name,
        ),
    )


def made_from(
    recipe: Mapping[str, Any], teacher: Mapping[str, Any], start: Mapping[str, Any]
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Role, digest and origin of the teachers and the first weights of a training, then of what those are made from.

    ``teacher`` and ``start`` are what is known of them.
    """
    named = _named(recipe)
    teachers = teacher.get(TOGETHER, [teacher]) if "teacher" in recipe else []
    for (role, digest), origin in zip(named, [*teachers, start][: len(named)], strict=True):
        yield role, digest, origin
        yield from made_from(origin.get("recipe", {}), origin.get("teacher", {}), origin.get("start", {}))


def _named(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Role and digest of each network that settings of training name; what is pruned goes on from weights."""
    teachers = [("teacher", digest) for digest in recipe["teacher"].split("+")] if "teacher" in recipe else []
    start = recipe.get("pruning", {}).get("float_weights") or recipe.get("weights")
    return teachers + ([("weights", start)] if start else [])


def text(dataset: str, found: Sequence[Shipped]) -> str:
    """A line for each weights file and for all that they are made from, and how long all of it takes."""
    names = {each.digest: each.name for each in found}
    known = {
        digest: (role, origin)
        for each in found
        for role, digest, origin in made_from(each.header.recipe, each.header.teacher, each.header.start)
        if digest not in names
    }
    rows = [_of_origin(role, digest, origin, names) for digest, (role, origin) in reversed(known.items())]
    rows += [_of_weights(each, names) for each in found]
    time = _in_all([each.header for each in found], [origin for _, origin in known.values()])
    return "\n".join([markdown_table(HEADERS, rows, "llrrr"), "", f"All of {dataset}, one after another: {time}."])


def _in_all(found: Sequence[Header], known: Sequence[Mapping[str, Any]]) -> str:
    """The sum of all times, and what they were taken on."""
    nameless = sum(not origin for origin in known)
    if nameless:
        return f"unknown, since nothing is known of {nameless} network{'s' if nameless > 1 else ''} learned from"
    trained = [*(origin["training"] for origin in known), *(header.training for header in found)]
    on = sorted({f"{each['device']} ({_threads(each)})" for each in trained})
    return f"{sum(each['seconds'] for each in trained) / 3600:.1f} hours on {', '.join(on)}"


def _of_origin(role: str, digest: str, origin: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    name = f"{role} `{digest[:DIGITS]}`"
    if not origin:
        return name, "unknown", "unknown", "unknown", "unknown", "unknown"
    recipe, metrics, training = origin["recipe"], origin["metrics"], origin["training"]
    return name, _from(recipe, names), *_reached(metrics, "test_accuracy", training), code(origin["command"])


def _of_weights(each: Shipped, names: Mapping[str, str]) -> tuple[str, ...]:
    header = each.header
    recipe = header.quantization.get("recipe_name")
    learn = "labels, float32 weights" if recipe else _from(header.recipe, names)
    accuracy = f"{recipe}_accuracy" if recipe else "test_accuracy"
    return f"`{each.name}`", learn, *_reached(header.metrics, accuracy, header.training), code(header.command)


def _from(recipe: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What was learned from: a loss that is all a teacher's has no use for labels."""
    labels = [] if recipe.get("distillation") == 1 else ["labels"]
    networks = [f"{role} `{names.get(digest, digest[:DIGITS])}`" for role, digest in _named(recipe)]
    return ", ".join([*labels, *networks])


def _reached(metrics: Mapping[str, float], accuracy: str, training: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{100 * metrics[accuracy]:.2f} %", str(training["epochs"]), f"{training['seconds'] / 60:.1f} min"


def _threads(training: Mapping[str, Any]) -> str:
    count = training["threads"] * training["processes"]
    return f"{count} thread{'s' if count > 1 else ''}"


def main(words: list[str] | None = None) -> int:
    """Print a table for each data set; returns the exit code."""
    folder = checkpoint.shipped_folder()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description="Commands and times.")
    there = sorted(path.name for path in folder.iterdir() if path.is_dir())
    parser.add_argument("--data", nargs="+", default=there, choices=there)
    options = parser.parse_args(words)
    print("\n\n".join(text(dataset, shipped(dataset, folder)) for dataset in options.data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
