"""The folder of a training run: weights, a checkpoint of every epoch, and the curve."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.files import output_errors, refuse_existing, write_bytes
from edgecnn.train.recipe import completed
from edgecnn.train.state import State

WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.safetensors"
CURVE = "curve.csv"

Curve = list[dict[str, float]]


@dataclass(frozen=True)
class RunFolder:
    """The files of one run below ``path``; each is written atomically."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """Where the state after the last finished epoch is."""
        return self.path / CHECKPOINT

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a run leaves, whether it is there or not."""
        return self.checkpoint, self.path / WEIGHTS, self.path / CURVE

    def check(self, resume: bool, force: bool) -> None:
        """Raise OutputExistsError if the folder holds a run that is neither resumed nor, by ``force``, replaced.

        Raises BadFileError if there is nothing to resume.
        """
        if resume and not self.checkpoint.exists():
            raise BadFileError(f"nothing to resume: {self.checkpoint} does not exist; run without --resume")
        for path in () if resume else self.files:
            refuse_existing(path, force)

    def prove_writable(self) -> None:
        """Make the folder and write to it, so that a bad place is found before hours of work. Raises OutputError."""
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other trainings out of the folder, which is there. Raises UsageError if one is at work in it."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            if not locked(descriptor):
                raise UsageError(
                    f"{self.path} is being written by a training that is still running; wait for it, or choose "
                    "another --out"
                )
            yield
        finally:
            os.close(descriptor)

    def save_epoch(self, header: Header, state: State, curve: Curve) -> None:
        """Checkpoint first, then the curve, which the checkpoint can always write again. Raises OutputError."""
        if state.epoch == 1:
            with output_errors(self.path):
                (self.path / WEIGHTS).unlink(missing_ok=True)  # of a run that this one replaces
        training = {"epochs": state.epoch, "seconds": state.seconds, "curve": curve}
        checkpoint.save(self.checkpoint, replace(header, training=training), state.tensors())
        names = list(curve[-1])
        lines = [",".join(names)] + [",".join(f"{row[name]:.6g}" for name in names) for row in curve]
        write_bytes(self.path / CURVE, ("\n".join(lines) + "\n").encode())

    def save_weights(self, header: Header, result: nn.Module) -> None:
        """The result of the whole run. Raises OutputError."""
        checkpoint.save(self.path / WEIGHTS, header, result.state_dict())

    def resume(self, header: Header, state: State) -> Curve:
        """Bring ``state`` to where the checkpoint stopped and return the curve so far.

        Raises BadFileError for a checkpoint that cannot be used, UsageError if it is of a run with other settings.
        """
        path = self.checkpoint
        found, tensors = checkpoint.load(path)
        check_same_settings(path, _settings(found), _settings(header))
        if "curve" not in found.training:
            raise BadFileError(f"cannot resume {path}: it holds finished weights; run without --resume")
        curve = _read_curve(path, found)
        state.restore(tensors, path)
        state.epoch, state.seconds = len(curve), curve[-1]["seconds"]
        return curve


def locked(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock what is open, until it is closed or the process ends; False if another has, in a way that is not shared."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_same_settings(path: object, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise UsageError, naming the first that differs, unless what ``path`` was begun with is what is asked now.

    A setting of training that an older file does not name counts as its default.
    """
    there, here = completed(there), completed(here)
    for name in sorted(here.keys() | there.keys()):
        if there.get(name) != here.get(name):
            raise UsageError(
                f"cannot resume {path}: its {name.replace('_', ' ')} is {there.get(name)}, "
                f"this run's is {here.get(name)}; use the same options, or start anew"
            )


def _read_curve(path: Path, header: Header) -> Curve:
    """The lines of a checkpoint's curve, one for each finished epoch. Raises BadFileError for anything else."""
    curve, done = header.training["curve"], header.training.get("epochs")
    wanted = {"epoch", "loss", "train_accuracy", "seconds"}
    if header.recipe.get("validation"):
        wanted.add("validation_accuracy")

    def good(row: Any) -> bool:
        return isinstance(row, dict) and wanted <= row.keys() and all(type(row[name]) in (int, float) for name in row)

    if not isinstance(curve, list) or not curve or len(curve) != done or not all(map(good, curve)):
        raise BadFileError(
            f"cannot resume {path}: its curve has no line of numbers for each of {str(done)[:20]} epochs; run without "
            "--resume"
        )
    return curve


def _settings(header: Header) -> dict[str, Any]:
    """What two runs must have in common, setting by setting."""
    whole: dict[str, Any] = {"model": header.model, "dataset": header.dataset, "classes": header.classes}
    whole |= {"normalization": header.normalization}
    return whole | header.arguments.to_json() | header.recipe | header.quantization
