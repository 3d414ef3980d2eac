"""What is seen of a training run: a bar on a terminal, otherwise one line per finished epoch."""

from __future__ import annotations

import statistics
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import TextIO

from torch import Tensor
from tqdm import tqdm

BATCHES_PER_UPDATE = 20  # reading the loss makes the processor wait for the accelerator
EPOCHS_TO_JUDGE_BY = 5  # the first epochs may be slower: a compiler runs, a teacher is asked


class Progress:
    """Reports to standard error; says nothing where ``silent``. Used as a context manager.

    ``done`` of ``epochs`` epochs, of ``steps`` batches each, are finished, and what they gave lies in ``checkpoint``;
    ``earlier`` work can be gone on with before any is.
    """

    def __init__(
        self, epochs: int, steps: int, done: int, checkpoint: Path, *, silent: bool, earlier: bool = False
    ) -> None:
        self._epochs = epochs
        self._done = done
        self._checkpoint = checkpoint
        self._took: deque[float] = deque(maxlen=EPOCHS_TO_JUDGE_BY)
        self._stream: TextIO = sys.stderr
        self._silent, self._earlier = silent, earlier
        on_terminal = self._stream.isatty() and not silent
        self._bar = tqdm(
            total=epochs * steps, initial=done * steps, unit="batch", file=self._stream, disable=not on_terminal
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.say(self._stopped())

    def batch(self, total_loss: Tensor, total_correct: Tensor, seen: int) -> None:
        """A batch of the running epoch is done; the sums (scalars) are over its ``seen`` images so far."""
        self._bar.update()
        if not self._bar.disable and self._bar.n % BATCHES_PER_UPDATE == 0:
            loss, accuracy = total_loss.item() / seen, total_correct.item() / seen
            self._bar.set_postfix_str(f"loss {loss:.3f}  accuracy {accuracy:.3f}")

    def epoch(self, row: dict[str, float], seconds: float) -> None:
        """An epoch, which took ``seconds``, is done and saved; ``row`` is its line of the curve."""
        self._done = int(row["epoch"])
        self._took.append(seconds)
        text = f"loss {row['loss']:.3f}  accuracy {row['train_accuracy']:.3f}"
        if "validation_accuracy" in row:
            text += f"  validation {row['validation_accuracy']:.4f}"
        if not self._bar.disable:
            self._bar.set_postfix_str(text)
            return
        left = statistics.median(self._took) * (self._epochs - self._done)
        self.say(f"epoch {self._done}/{self._epochs}  {text}  {left:.0f} s left")

    def _stopped(self) -> str:
        if self._done == 0 and self._earlier:
            return "stopped; what was done before is kept: go on with --resume"
        if self._done == 0:
            return "stopped before an epoch was finished; there is nothing to resume"
        return f"stopped; {self._done} of {self._epochs} epochs are in {self._checkpoint}: go on with --resume"

    def say(self, line: str) -> None:
        """Show a line; a bar is drawn anew below it."""
        if not self._silent:
            tqdm.write(line, self._stream)
            self._stream.flush()
