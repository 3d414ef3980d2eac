"""What pruning costs and saves: ``python -m benchmarks.pruning [--model NAME...] [--target TARGET...] [--measure]``.

Shows the committed results, or makes them: prunes the shipped weights of every model to every target through the
command line, as a user does, below ``--runs`` (what is there with the same teacher, epochs and rate is not made again,
interrupted runs go on), quantizes what is left by calibration, with weights of 8 bits and of 4, and scores the TFLite
files on all CIFAR-10 test images.
``--epochs`` are those of the last of three steps; the others have a tenth of them each. What is left learns from the
unpruned network or, with ``--teacher``, mostly from better ones whose weights ship. ``--record`` also puts the weights
of ``SHIPPED`` among those that ship. ``--go-on`` prunes nothing: it trains on what ships of these.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.committed import Results, Row
from benchmarks.said import said
from benchmarks.summary import RECORDED
from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.errors import UsageError
from edgecnn.export.source import find_weights
from edgecnn.prune.iterate import PLAN
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8
from edgecnn.report.table import table
from edgecnn.train import CHECKPOINT, WEIGHTS
from edgecnn.train.distill import TOGETHER

MODELS = ("lenet", "mod_cnn", "depthwise", "depth_res", "resnet8")
TARGETS = ("macs:0.7", "macs:0.5", "macs:0.3")
EPOCHS = 20
# A quarter of depthwise's MACs are the image's own convolution, which stays: the rest must come down further.
FINER = {("depthwise", "macs:0.3"): ("--multiple", "2")}
SHIPPED = (("resnet8", "macs:0.5"), ("resnet8", "macs:0.3"))
VIEWS = 24
HEADERS = (
    "model", "target", "teacher", "MACs", "parameters", "bytes", "latency", "float32", "pruned", "change, points",
    "static_w8a8 before", "after", "change, points", "static_w4a8", "epochs", "training",
)  # fmt: skip


def run(model: str, target: str, how: Sequence[str], place: Path) -> Row:
    """Prune, or go on with, one model in the folder ``place``, and quantize what is left; ``how`` are more options.

    Accuracies are shares of all test images; ``macs``, ``parameters``, ``bytes`` and ``latency_us`` shares of the
    unpruned model's. Raises UsageError for a folder of other weights than ship, whose figures do not belong together.
    """
    before = _accuracy_before(model)  # before minutes of training
    asked = ["--target", target, "--out", str(place), *how, *FINER.get((model, target), ())]
    asked += ["--resume"] if (place / PLAN).exists() else []
    document = said(Path(f"{place}.json"), "prune", *_words(model), *asked)
    pruning = checkpoint.load(place / WEIGHTS)[0].recipe["pruning"]
    if pruning["float_weights"] != checkpoint.digest(find_weights(model, "cifar10")[0]):
        raise UsageError(f"{place} was pruned from other weights of {model} than ship now; give another --runs")
    return {
        "model": model, "target": target, "importance": pruning["importance"], "steps": pruning["steps"],
        "multiple": pruning["multiple"], "shares": document["shares"], "met": document["met"],
        "widths": document["widths"], "float32": document["unpruned"]["accuracy"],
        "static_w8a8_before": before, **_reached(model, place),
    }  # fmt: skip


def go_on(model: str, target: str, how: Sequence[str], place: Path) -> Row:
    """The row of a network of which pruned weights ship, when these were trained on in the folder ``place``.

    ``how`` are more options of 'edgecnn train'. Raises UsageError where none ship.
    """
    if (model, target) not in SHIPPED:
        ship = ", ".join(" ".join(each) for each in SHIPPED)
        raise UsageError(f"no weights of {model} pruned to {target} ship to go on from (valid: {ship})")
    _, header = find_weights(model, "cifar10", target)
    kept = [f"--{name.replace('_', '-')}={header.recipe[name]}" for name in ("optimizer", "label_smoothing")]
    asked = ["--weights", f"cifar10:{target}", "--out", str(place), *kept, *how]
    asked += ["--resume"] if (place / CHECKPOINT).exists() else []
    said(Path(f"{place}.json"), "train", *_words(model), *asked)
    (pruned,) = (row for row in RESULTS.rows() if (row["model"], row["target"]) == (model, target))
    return pruned | _reached(model, place)


def _words(model: str) -> list[str]:
    return ["--model", model, "--data", "cifar10"]


def _reached(model: str, place: Path) -> Row:
    """What the weights in ``place`` and the files made of them are, and how they were made."""
    w8a8, w4a8 = (_quantized(place, recipe.name, _words(model)) for recipe in (STATIC_W8A8, STATIC_W4A8))
    header, _ = checkpoint.load(place / WEIGHTS)
    trained = _since_cut(header)
    teachers = header.teacher.get(TOGETHER, [header.teacher])
    return {
        "teacher": ", ".join(each.get("model", "") for each in teachers),
        "epochs": sum(each["epochs"] for each in trained),
        "images": w8a8["images"], "pruned": header.metrics["test_accuracy"],
        "static_w8a8": w8a8["accuracy"], "bytes": w8a8["bytes"],
        "static_w4a8": w4a8["accuracy"], "static_w4a8_bytes": w4a8["bytes"],
        "seconds": round(sum(each["seconds"] for each in trained), 1), "device": header.training["device"],
        "command": header.command,
    }  # fmt: skip


def _since_cut(header: Header) -> list[dict[str, Any]]:
    """The trainings of pruned weights, from the cut on: that of 'edgecnn prune', and what went on from there."""
    stages = list(header.stages())
    cut = next(place for place, stage in enumerate(stages) if "pruning" in stage["recipe"])
    return [stage["training"] for stage in stages[: cut + 1]]


def _accuracy_before(model: str) -> float:
    """How often the static_w8a8 file of the shipped weights is right, which they say. Raises UsageError if not."""
    shipped = checkpoint.shipped(model, "cifar10")
    known = {} if shipped is None else checkpoint.load(shipped)[0].metrics
    if RECORDED not in known:
        raise UsageError(f"the weights of '{model}' have no {RECORDED}; run: python -m benchmarks.summary --record")
    return float(known[RECORDED])


def _quantized(place: Path, recipe: str, words: Sequence[str]) -> dict[str, Any]:
    """What 'edgecnn quantize' says of the file it makes by ``recipe`` of the weights in ``place``."""
    how = ["--weights", str(place / WEIGHTS), "--recipe", recipe, "--format", "tflite", "--out", f"{place}-{recipe}"]
    found: dict[str, Any] = said(Path(f"{place}-{recipe}.json"), "quantize", *words, *how)["quantized"]
    return found


def ship(place: Path, accuracy: float) -> None:
    """Put the pruned weights in ``place``, with the ``accuracy`` of their static_w8a8 file, beside those that ship."""
    weights = place / WEIGHTS
    header, _ = checkpoint.load(weights)
    path = checkpoint.shipped_path(header.model, header.dataset, header.pruned_to)
    checkpoint.annotate(weights, {RECORDED: accuracy}, path)


def text(rows: Sequence[Row]) -> str:
    """A line per model and target."""
    cells = []
    for row in rows:
        shares = row["shares"]
        cells.append((
            row["model"], row["target"] if row["met"] else f"{row['target']} (missed)", row["teacher"] or "itself",
            *(f"{shares[name]:.3f}" for name in ("macs", "parameters", "bytes", "latency_us")),
            f"{100 * row['float32']:.2f} %", f"{100 * row['pruned']:.2f} %",
            f"{100 * (row['pruned'] - row['float32']):+.2f}",
            f"{100 * row['static_w8a8_before']:.2f} %", f"{100 * row['static_w8a8']:.2f} %",
            f"{100 * (row['static_w8a8'] - row['static_w8a8_before']):+.2f}",
            f"{100 * row['static_w4a8']:.2f} %" if "static_w4a8" in row else "-",
            str(row["epochs"]), f"{row['seconds'] / 60:.1f} min",
        ))  # fmt: skip
    return table(HEADERS, cells, "lllrrrrrrrrrrrrr")


RESULTS = Results("pruning.json", ("model", "target"), text)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description="Whole and pruned networks.")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", default=Path("runs/pruning"))
    parser.add_argument("--model", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--target", nargs="+", default=list(TARGETS))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="not the one that suits the optimizer")
    parser.add_argument("--precision", default="bfloat16", help="float32 is faster where the processor has no bfloat16")
    parser.add_argument("--eager", action="store_true", help="do not compile, which makes some processors slower")
    parser.add_argument("--teacher", nargs="+", metavar="NAME", default=[], help="models whose weights ship, or files")
    parser.add_argument("--views", type=int, default=VIEWS, help="augmented copies that teachers are asked about")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--go-on", action="store_true", help="train on the pruned weights that ship")

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        teachers, rate = options.teacher, options.learning_rate
        how = ["--epochs", str(options.epochs), "--precision", options.precision, "--seed", str(options.seed)]
        how += [] if options.eager else ["--compile"]
        taught = ["--distillation", "0.9", "--views", str(options.views)] if teachers else []
        how += [word for each in teachers for word in ("--teacher", each)] + taught
        how += [] if rate is None else ["--learning-rate", str(rate)]
        parts = [*(Path(each).stem for each in teachers or ["itself"]), options.epochs]
        parts += [*([] if rate is None else [rate]), options.seed]
        parts += [*([] if options.views == VIEWS else [f"views{options.views}"]), *(["on"] if options.go_on else [])]
        kind = "-".join(map(str, parts))
        for model, target in itertools.product(options.model, options.target):
            place = options.runs / f"{model}-{target.replace(':', '')}-{kind}"
            row = (go_on if options.go_on else run)(model, target, how, place)
            if options.record and (model, target) in SHIPPED:
                ship(place, row[STATIC_W8A8.name])
            yield row

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
