"""What an image's mirror image adds: ``python -m benchmarks.mirrored [--model NAME[+NAME...]...] [--measure]``.

Shows the committed results, or makes them: scores the shipped float32 weights on all test images, as they are and by
the mean of their logits for an image and its mirror image, which is how a teacher is asked (``--views``). Names joined
by '+' are asked together, as teachers are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from benchmarks.committed import Results, Row
from edgecnn import models
from edgecnn.data import registry
from edgecnn.data.dataset import batches
from edgecnn.evaluate import BATCH, predictor
from edgecnn.export.source import find_weights
from edgecnn.measure.accuracy import Score
from edgecnn.measure.comparison import Comparison
from edgecnn.measure.stats import paired_change
from edgecnn.report.table import table
from edgecnn.train.distill import Committee

TEACHERS = ("teacher", "teacher+edge_l")
TOGETHER = "+"
HEADERS = ("model", "images", "as it is", "with the mirror image", "change, points (95 % interval)")


def measure(names: Iterable[str], data: str, limit: int | None = None) -> Iterator[Row]:
    """A row for each of ``names``: test ``images``, how many are right as it is, and how many ``mirrored``.

    ``gained`` are those that only the mean is right about, ``lost`` those that it is wrong about. The first ``limit``
    images count, all when None.
    """
    dataset = registry.load(data)
    for name in names:
        print(name, file=sys.stderr)
        predict = predictor(Committee(find_weights(each, dataset.name)[0] for each in name.split(TOGETHER)))
        pieces = [
            (labels, predict(images), predict(np.ascontiguousarray(images[:, :, ::-1])))
            for images, labels in batches(dataset.test, BATCH, limit)
        ]
        labels, plain, turned = (np.concatenate(each) for each in zip(*pieces, strict=True))
        found = Comparison(*(Score(logits.argmax(1), labels) for logits in (plain, plain + turned)))
        yield {"model": name, **counts(found)}


def counts(found: Comparison) -> Row:
    """A row's part that says what looking twice changed: how many images, right, mirrored, gained and lost."""
    return {
        "images": found.images, "right": found.first.right, "mirrored": found.second.right,
        "gained": found.only_second, "lost": found.only_first,
    }  # fmt: skip


def text(rows: Sequence[Row]) -> str:
    """A line per network."""
    return table(HEADERS, [(row["model"].replace(TOGETHER, f" {TOGETHER} "), *shares(row)) for row in rows], "lrrrr")


def shares(row: Row) -> tuple[str, ...]:
    """``counts`` for a table: images, the two accuracies, and the change with its interval."""
    images = row["images"]
    low, high = paired_change(row["lost"], row["gained"], images)
    return (
        f"{images:,}",
        *(f"{100 * row[name] / images:.2f} %" for name in ("right", "mirrored")),
        f"{100 * (row['gained'] - row['lost']) / images:+.2f} ({low:+.2f} to {high:+.2f})",
    )  # fmt: skip


RESULTS = Results("mirrored.json", ("model",), text)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table or JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirrored", description="What a mirror image adds.")
    parser.add_argument("--model", nargs="+", default=[*models.names(), *TEACHERS], metavar="NAME[+NAME...]")
    return RESULTS.main(parser, lambda options: measure(options.model, "cifar10"), words)


if __name__ == "__main__":
    sys.exit(main())
