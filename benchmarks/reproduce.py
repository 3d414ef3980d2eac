"""How each shipped weight is made again, and how long that took: ``python -m benchmarks.reproduce [--data NAME...]``.

All of it is what the headers of the weights say, those of teachers, which are not shipped, included.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecnn import checkpoint, models
from edgecnn.checkpoint import SUFFIX, Header
from edgecnn.report.markdown import code

HEADERS = ("weights", "learn from", "test accuracy", "epochs", "training", "command")
DIGITS = 8  # of a teacher's digest, to tell it from others


def shipped(dataset: str, folder: Path) -> list[tuple[Path, Header]]:
    """Paths and headers of all weights for a data set, in the order of the models, what is quantized last."""
    found = [(path, checkpoint.load(path)[0]) for path in folder.glob(f"{dataset}/*{SUFFIX}")]
    order = {name: place for place, name in enumerate(models.names())}
    return sorted(
        found, key=lambda each: (bool(each[1].quantization), order.get(each[1].model, len(order)), each[0].name)
    )


def teachers(header: Header) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The digest and what is known of the network that was learned from, and of those that it learned from itself."""
    recipe, origin = header.recipe, header.teacher
    while "teacher" in recipe:
        yield recipe["teacher"], origin
        recipe, origin = origin.get("recipe", {}), origin.get("teacher", {})


def text(dataset: str, found: Sequence[tuple[Path, Header]]) -> str:
    """A line for each teacher and each weights file, and how long all of them take."""
    known = {digest: origin for _, header in found for digest, origin in teachers(header)}
    rows = [_of_teacher(digest, origin) for digest, origin in reversed(known.items())]
    rows += [_of_weights(path, header) for path, header in found]
    lines = ["| " + " | ".join(HEADERS) + " |", "|---|---" + "|---:" * 3 + "|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", f"All of {dataset}, one after another: {_in_all(found, known)}."])


def _in_all(found: Sequence[tuple[Path, Header]], known: Mapping[str, Mapping[str, Any]]) -> str:
    """The sum of all times, and what they were taken on."""
    nameless = sum(not origin for origin in known.values())
    if nameless:
        return f"unknown, since nothing is known of {nameless} teacher{'s' if nameless > 1 else ''}"
    trained = [*(origin["training"] for origin in known.values()), *(header.training for _, header in found)]
    on = sorted({f"{each['device']} ({_threads(each)})" for each in trained})
    return f"{sum(each['seconds'] for each in trained) / 3600:.1f} hours on {', '.join(on)}"


def _of_teacher(digest: str, origin: Mapping[str, Any]) -> tuple[str, ...]:
    name = f"teacher `{digest[:DIGITS]}`"
    if not origin:
        return name, "unknown", "unknown", "unknown", "unknown", "unknown"
    recipe, metrics, training = origin["recipe"], origin["metrics"], origin["training"]
    return name, _from(recipe), *_reached(metrics, "test_accuracy", training), code(origin["command"])


def _of_weights(path: Path, header: Header) -> tuple[str, ...]:
    name = path.name.removesuffix(SUFFIX)
    recipe = header.quantization.get("recipe_name")
    learn = "labels, float32 weights" if recipe else _from(header.recipe)
    accuracy = f"{recipe}_accuracy" if recipe else "test_accuracy"
    return f"`{name}`", learn, *_reached(header.metrics, accuracy, header.training), code(header.command)


def _from(recipe: Mapping[str, Any]) -> str:
    """What was learned from: a loss that is all a teacher's has no use for labels."""
    teacher = f"teacher `{recipe['teacher'][:DIGITS]}`" if "teacher" in recipe else ""
    return teacher if recipe.get("distillation") == 1 else ", ".join(["labels", *([teacher] if teacher else [])])


def _reached(metrics: Mapping[str, float], accuracy: str, training: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{100 * metrics[accuracy]:.2f} %", str(training["epochs"]), f"{training['seconds'] / 60:.1f} min"


def _threads(training: Mapping[str, Any]) -> str:
    count = training["threads"] * training["processes"]
    return f"{count} thread{'s' if count > 1 else ''}"


def main(words: list[str] | None = None) -> int:
    """Print a table for each data set; returns the exit code."""
    folder = checkpoint.shipped_folder()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description="Commands and times.")
    parser.add_argument("--data", nargs="+", default=sorted(path.name for path in folder.iterdir() if path.is_dir()))
    options = parser.parse_args(words)
    print("\n\n".join(text(dataset, shipped(dataset, folder)) for dataset in options.data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
