"""What a network costs: all of it depends on shapes alone, and is known before training."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from edgecnn import models
from edgecnn.checkpoint import Header
from edgecnn.data.dataset import DataSet
from edgecnn.errors import CheckFailedError, EdgeCNNError, UsageError
from edgecnn.export.drafts import make
from edgecnn.export.source import Source
from edgecnn.export.weigh import ORDER, times_of
from edgecnn.measure.costs import Measure
from edgecnn.models import ModelArguments, cost
from edgecnn.models.design import Design
from edgecnn.runtime.files import write_bytes
from edgecnn.search.asked import REFERENCE, Asked
from edgecnn.search.objectives import BYTES, LATENCY, MACS

IMAGES = 32  # that calibrate a file with fresh weights; its ranges are of no matter
COST = "cost"  # the latency in the target's own unit: microseconds or instructions


class TargetError(EdgeCNNError):
    """The target times nothing, which is the fault of no network."""


@dataclass(frozen=True)
class Latency:
    """``share`` of what REFERENCE's file takes, and ``cost`` in the unit of the target."""

    share: float
    cost: float


class Clock(Protocol):
    """Knows the latency of networks on a target."""

    def latency(self, network: nn.Module, file: Path) -> Latency:
        """That of a network, which ``file`` is of. Raises CheckFailedError where it cannot be had, TargetError."""
        ...


class Prices:
    """Costs of networks on images like those of ``data``; files lie in ``folder``."""

    def __init__(self, asked: Asked, data: DataSet, clock: Clock | None, folder: Path) -> None:
        self._asked, self._clock, self._folder = asked, clock, folder
        self._files = Files(data, folder)

    def fresh(self, design: Design) -> nn.Module:
        """The design's network with fresh weights."""
        return self._files.network(str(design))

    def of(self, network: nn.Module) -> Iterator[tuple[str, float]]:
        """Names and costs, the cheapest to find out first; latency is followed by COST, its own unit's figure.

        Raises CheckFailedError for a network that has no file or whose file cannot be timed, TargetError.
        """
        yield MACS, cost.macs(network, self._files.arguments)
        if not self._asked.needs_file:
            return
        file = self._files.write("candidate.tflite", network)
        yield BYTES, file.stat().st_size
        if self._asked.timed:
            assert self._clock is not None
            found = self._clock.latency(network, file)
            yield LATENCY, found.share
            yield COST, found.cost


class Files:
    """static_w8a8 TFLite files of networks with fresh weights."""

    def __init__(self, data: DataSet, folder: Path) -> None:
        height, width, channels = data.image
        self.arguments = ModelArguments(len(data.classes), channels, (height, width))
        self._data, self._folder = data, folder

    def network(self, model: str) -> nn.Module:
        """The network with fresh weights."""
        torch.manual_seed(0)
        return models.create(model, self.arguments).eval()

    def write(self, name: str, network: nn.Module) -> Path:
        """Its file as quantization makes it, not put through the gate."""
        header = Header(REFERENCE, self.arguments, self._data.name, self._data.classes, {})
        write_bytes(self._folder / name, make(ORDER, Source(network, header, self._data, IMAGES)).content)
        return self._folder / name


class Compared:
    """A clock that measures: each file by turns with REFERENCE's, so that a busy machine slows both.

    ``lock`` is a file: of the processes that have it, one measures at a time.
    """

    def __init__(self, timer: Measure, files: Files, lock: Path) -> None:
        self._timer, self._files, self._lock = timer, files, lock

    def latency(self, network: nn.Module, file: Path) -> Latency:
        """As measured now."""
        reference = self._reference
        with _held(self._lock):
            try:
                rows = self._timer.screen([reference, file])
            except (UsageError, CheckFailedError) as error:
                raise TargetError(str(error)) from error
        if isinstance(rows[0], str):
            raise TargetError(f"{REFERENCE}'s file could not be timed: {rows[0]}")
        whole, other = times_of(rows)
        return Latency(other / whole, other)

    @cached_property
    def _reference(self) -> Path:
        return self._files.write(f"{REFERENCE}.tflite", self._files.network(REFERENCE))


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
