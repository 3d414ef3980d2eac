"""Latency looked up: prices of kinds of layers, from whole files that were measured on a target once.

A layer's time cannot be had alone on a board, so designs drawn from the space are measured whole, by turns with
REFERENCE's file, and the prices are those that explain these times best: for each kind of layer one for each of its
multiply-accumulates, one for each value it gives, and one for being there. None is below zero. That latency is the sum
of its parts is what tables of operators rest on, as in B. Wu et al., "FBNet" (2019).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from sklearn.linear_model import LinearRegression
from torch import nn

from edgecnn.errors import BadFileError, UsageError
from edgecnn.measure.pace import Pace
from edgecnn.models import ModelArguments, cost
from edgecnn.models.design import Design
from edgecnn.runtime.files import write_bytes
from edgecnn.search.asked import REFERENCE
from edgecnn.search.prices import Compared, Files, Latency
from edgecnn.search.space import SPACE, Candidate

FORMAT = 1
KINDS = ("dense", "pointwise", "depthwise", "linear")
FEWEST = 3 * 3 * len(KINDS)  # files: three for each price


@dataclass(frozen=True)
class Row:
    """A design that was measured: its latency as a share of REFERENCE's, and in the target's unit."""

    design: str
    share: float
    cost: float


@dataclass(frozen=True)
class Table:
    """What was measured on ``target``, in ``unit``, for images of ``image`` (height, width, channels)."""

    target: str
    unit: str
    image: tuple[int, int, int]
    classes: int
    rows: tuple[Row, ...]

    def save(self, path: Path) -> None:
        """As one JSON document. Raises OutputError."""
        write_bytes(path, json.dumps({"edgecnn_latency_table": FORMAT, **asdict(self)}, indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of ``save``. Raises BadFileError."""
        try:
            value = dict(json.loads(path.read_text("utf-8")))
            if value.pop("edgecnn_latency_table") != FORMAT:
                raise ValueError("another format")
            rows = tuple(
                # As what it is read as: any other name of a model may be code.
                Row(str(Design.parse(row["design"])), float(row["share"]), float(row["cost"]))
                for row in value["rows"]
            )
            height, width, channels = map(int, value["image"])
            found = cls(
                str(value["target"]), str(value["unit"]), (height, width, channels), int(value["classes"]), rows
            )
        except OSError as error:
            raise BadFileError(f"cannot read table {path}: {error.strerror}; make one with --build-table") from error
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError, UsageError) as error:
            raise BadFileError(
                f"{path} is no table that 'edgecnn search --build-table' wrote ({error!r}); make it again"
            ) from error
        times = [each for row in found.rows for each in (row.share, row.cost)]
        if len(found.rows) < FEWEST or not all(0 < each < math.inf for each in times):
            raise BadFileError(f"{path} has no {FEWEST} designs with times above 0; make it again")
        return found

    def check_image(self, image: tuple[int, int, int]) -> None:
        """Raise UsageError for images of another size."""
        if image != self.image:
            raise UsageError(
                f"the table is for images of {'x'.join(map(str, self.image))}, the data set's are "
                f"{'x'.join(map(str, image))}; make one for them with --build-table"
            )


class Lookup:
    """A clock that reads latency off a table."""

    def __init__(self, table: Table, files: Files) -> None:
        table.check_image((*files.arguments.image_size, files.arguments.in_channels))
        self._arguments = files.arguments
        self._shares = np.array([row.share for row in table.rows])
        self._features = np.array([features(files.network(row.design), files.arguments) for row in table.rows])
        self._prices = _prices(self._features, self._shares)
        # What REFERENCE takes in the unit of the target.
        self._whole = float(np.median([row.cost / row.share for row in table.rows]))

    def latency(self, network: nn.Module, file: Path) -> Latency:
        """The sum of the network's parts."""
        share = float(np.array(features(network, self._arguments)) @ self._prices)
        return Latency(share, share * self._whole)

    def error(self) -> float:
        """The middle of the errors, as shares of what was measured, of designs that the prices were made without."""
        errors = []
        for place, share in enumerate(self._shares):
            rest = np.arange(len(self._shares)) != place
            prices = _prices(self._features[rest], self._shares[rest])
            errors.append(abs(self._features[place] @ prices / share - 1))
        return float(np.median(errors))


def _prices(features_of_all: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Prices above or at zero [n] with the least squares of relative errors."""
    fit = LinearRegression(positive=True, fit_intercept=False)
    scale = features_of_all.max(0).clip(min=1)
    fit.fit(features_of_all / scale / shares[:, None], np.ones(len(shares)))
    return np.asarray(fit.coef_ / scale)


def features(network: nn.Module, arguments: ModelArguments) -> list[float]:
    """For each of KINDS: multiply-accumulates, values given, and layers. The network is run once, on zeros."""
    found = {kind: np.zeros(3) for kind in KINDS}
    for layer in cost.layer_costs(network, arguments):
        found[_kind(layer.module)] += (layer.macs, layer.values, 1)
    return [float(value) for kind in KINDS for value in found[kind]]


def _kind(module: nn.Conv2d | nn.Linear) -> str:
    if isinstance(module, nn.Linear):
        return "linear"
    if cost.is_depthwise(module):
        return "depthwise"
    return "pointwise" if module.kernel_size == (1, 1) else "dense"


def measure(
    target: str, unit: str, count: int, files: Files, clock: Compared, seed: int, say: Callable[[str], None]
) -> Table:
    """Measure ``count`` designs drawn from the space. Raises UsageError for too few, CheckFailedError for one that
    cannot be timed."""
    if count < FEWEST:
        raise UsageError(f"--trials {count} designs make no table; give {FEWEST} or more")
    rows, pace = [], Pace(count, 0.0, say, time.monotonic)
    for number, design in enumerate(_designs(count, seed), 1):
        network = files.network(design)
        found = clock.latency(network, files.write("candidate.tflite", network))
        rows.append(Row(design, found.share, found.cost))
        pace.turn()
        pace.tell(f"{number} of {count}: {found.share:.3f} of {REFERENCE}, {design}", news=True)
    height, width = files.arguments.image_size
    image = (height, width, files.arguments.in_channels)
    return Table(target, unit, image, files.arguments.num_classes, tuple(rows))


def _designs(count: int, seed: int) -> Sequence[str]:
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        values = {name: each.any(random) for name, each in SPACE.items()}
        found[str(Candidate.of(values).design)] = None
    return list(found)
