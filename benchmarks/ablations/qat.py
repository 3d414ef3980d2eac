"""What each part of training under quantization brings: ``python -m benchmarks.ablations.qat [--measure]``.

Shows the committed results, or makes them: trains float weights below ``--runs`` as the shipped ones were, but with a
tenth of the training images held out (weights that are there are taken), and from them each variant with each seed
under quantization, and scores the simulations on the images held out.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.ablations.held_out import HELD_OUT, SEEDS, spread
from benchmarks.committed import Results, Row
from edgecnn import checkpoint
from edgecnn.data import registry
from edgecnn.data.dataset import Split, hold_out
from edgecnn.evaluate import predictor
from edgecnn.export.source import Source
from edgecnn.quantize import passes, qat
from edgecnn.quantize.recipe import CALIBRATION_IMAGES, STATIC_W8A8, parse
from edgecnn.report.table import table
from edgecnn.train import WEIGHTS

AT_ONCE = 500
WITHOUT_DROPOUT = "without dropout"
VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    WITHOUT_DROPOUT: {},
    "labels alone": {"distillation": 0.0},
    "float network alone": {"distillation": 1.0},
    "learned ranges": {"ranges": qat.LEARNED},
}
HEADERS = ("model", "recipe", "variant", "seeds", "change, points: mean (lowest to highest)", "change of the NLL: mean")


def run(model: str, recipe: str, variant: str, seed: int, folder: Path) -> Row:
    """Train one variant below ``folder``, and score it on ``images`` held out.

    Accuracies are shares, ``nll`` is the mean cross-entropy, in nats, ``seconds`` is what training took.
    """
    path = _float_weights(model, folder)
    network, header = checkpoint.load_model(path, model)
    data = registry.load("cifar10")
    fitted, held = hold_out(data.train, HELD_OUT)
    source = Source(network, header, replace(data, train=fitted), CALIBRATION_IMAGES)
    changes = {"ranges": qat.FOLLOWING} | VARIANTS[variant]
    ranges = changes.pop("ranges")
    settings = qat.settings(
        header, parse(recipe), seed=seed, precision="bfloat16", compile=True, validation=HELD_OUT, **changes
    )
    with ExitStack() as patches:
        if variant == WITHOUT_DROPOUT:
            patches.enter_context(mock.patch.object(qat, "bring_back"))
        trained = qat.train(
            network, header, data, source.calibration_batches(), settings,
            folder / "-".join([model, recipe, variant.replace(" ", "_"), str(seed)]),
            rewrites=passes.defaults(parse(recipe)), quantized=parse(recipe), ranges=ranges, force=True,
        )  # fmt: skip
    before, after = _score(network, held), _score(trained.graph(network, trained.rewrites), held)
    return {
        "model": model, "recipe": recipe, "variant": variant, "seed": seed, "images": len(held),
        "float_accuracy": before[0], "float_nll": before[1], "accuracy": after[0], "nll": after[1],
        "seconds": trained.header.training["seconds"],
    }  # fmt: skip


def _float_weights(model: str, folder: Path) -> Path:
    """Weights that never saw the images held out, trained now if they are not there, by the shipped ones' recipe."""
    path = folder / f"{model}-float" / WEIGHTS
    if not path.exists():
        shipped = checkpoint.shipped(model, "cifar10")
        assert shipped is not None  # all models of edgecnn ship
        words = shlex.split(checkpoint.load(shipped)[0].command)[1:]
        more = ["--validation", str(HELD_OUT), "--out", str(path.parent)]
        subprocess.run([sys.executable, "-m", "edgecnn", *words, *more], check=True)
    return path


def _score(network: nn.Module, split: Split) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    predict = predictor(network)
    pictures, labels = split.take(np.arange(len(split)))
    logits = [predict(pictures[start : start + AT_ONCE]) for start in range(0, len(pictures), AT_ONCE)]
    found, wanted = torch.from_numpy(np.concatenate(logits)), torch.from_numpy(labels)
    return float((found.argmax(1) == wanted).float().mean()), float(cross_entropy(found, wanted))


def text(rows: Sequence[Row]) -> str:
    """A line for each model, recipe and variant."""
    cells = []
    ordered = sorted(rows, key=lambda row: (row["model"], row["recipe"], list(VARIANTS).index(row["variant"])))
    for key in dict.fromkeys((row["model"], row["recipe"], row["variant"]) for row in ordered):
        mine = [row for row in rows if (row["model"], row["recipe"], row["variant"]) == key]
        changes = [100 * (row["accuracy"] - row["float_accuracy"]) for row in mine]
        losses = [row["nll"] - row["float_nll"] for row in mine]
        cells.append((*key, str(len(mine)), spread(changes, "+"), f"{statistics.mean(losses):+.4f}"))
    return table(HEADERS, cells, "lllrrr")


RESULTS = Results("ablations_qat.json", ("model", "recipe", "variant", "seed"), text)


def main(words: list[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations.qat", description="Variants of QAT.")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", default=Path("runs/ablations"))
    parser.add_argument("--model", nargs="+", default=["mod_cnn"])
    parser.add_argument("--recipe", nargs="+", default=[STATIC_W8A8.name])
    parser.add_argument("--variant", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seed", nargs="+", type=int, default=SEEDS)

    def rows(options: argparse.Namespace) -> Iterator[Row]:
        wanted = itertools.product(options.model, options.recipe, options.variant, options.seed)
        return (run(*each, options.runs) for each in wanted)

    return RESULTS.main(parser, rows, words)


if __name__ == "__main__":
    sys.exit(main())
