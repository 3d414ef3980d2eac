"""One pass over the training images.

All randomness is drawn from generators seeded by (seed, epoch, process), so an epoch depends on nothing but the
tensors it starts from: a run that was killed and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from edgecnn.data.augment import to_input
from edgecnn.errors import UsageError
from edgecnn.train.distill import divergence
from edgecnn.train.optimize import learning_rate
from edgecnn.train.processes import Processes
from edgecnn.train.progress import Progress
from edgecnn.train.randomness import DROPOUT, ORDER, seed
from edgecnn.train.recipe import TrainRecipe
from edgecnn.train.state import State
from edgecnn.train.views import Batch, Source


@dataclass(frozen=True)
class Trainer:
    """What stays the same from epoch to epoch, and the state that does not.

    ``runner`` is the state's model as it is called: compiled, or spread over processes, where asked for. ``source``
    gives batches of the ``count`` training images, on the ``place`` that trains. ``teacher`` is asked for the share of
    the loss that the recipe's ``distillation`` says, where batches do not come with its answers.
    """

    recipe: TrainRecipe
    processes: Processes
    state: State
    runner: nn.Module
    source: Source
    count: int
    place: torch.device
    teacher: nn.Module | None = None

    @property
    def steps(self) -> int:
        """Batches in an epoch; a last batch that is not whole is left out."""
        return self.count // self.recipe.batch_size

    def one_epoch(self, epoch: int, progress: Progress) -> tuple[float, float]:
        """Train on all images once; gives the mean loss and the accuracy on the augmented batches.

        ``epoch`` counts from 0. Raises UsageError when the loss is no longer finite.
        """
        self.source.begin(epoch)
        torch.manual_seed(seed(self.recipe.seed, epoch, DROPOUT + self.processes.rank))
        total_loss = torch.zeros((), device=self.place)
        total_correct = torch.zeros((), device=self.place)
        seen = 0
        self.state.model.train()
        for step, chosen in enumerate(self._batches(epoch), start=epoch * self.steps):
            self._set_learning_rate(step)
            batch = self.source.batch(chosen)
            logits, loss = self._step(batch)
            total_loss += loss * len(chosen)
            total_correct += (logits.argmax(1) == batch.labels).sum()
            seen += len(chosen)
            progress.batch(total_loss, total_correct, seen)
        self.processes.agree(self.state.buffers())
        sums = torch.stack([total_loss, total_correct, torch.tensor(float(seen), device=self.place)])
        loss_sum, correct_sum, count = self.processes.total(sums).tolist()
        if not np.isfinite(loss_sum):
            raise UsageError(
                f"the loss is not finite in epoch {epoch + 1}; lower --learning-rate ({self.recipe.learning_rate})"
            )
        return loss_sum / count, correct_sum / count

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        """Indices of this process's share of each batch, in the random order that all processes agree on."""
        generator = torch.Generator().manual_seed(seed(self.recipe.seed, epoch, ORDER))
        order = torch.randperm(self.count, generator=generator).to(self.place)
        size = self.recipe.batch_size
        for start in range(0, self.steps * size, size):
            yield self.processes.share(order[start : start + size])

    def _set_learning_rate(self, step: int) -> None:
        recipe = self.recipe
        warmup = round(recipe.warmup_epochs * self.steps)
        rate = learning_rate(step, recipe.epochs * self.steps, warmup, recipe.learning_rate)
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Move the weights once; gives logits [n, classes] and the mean loss, both detached."""
        state, recipe = self.state, self.recipe
        seen = to_input(batch.images)
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = self.runner(seen)
            loss = cross_entropy(logits.float(), batch.labels, label_smoothing=recipe.label_smoothing)
            advice = batch.advice
            if advice is None and self.teacher is not None:
                with torch.no_grad():
                    advice = self.teacher(seen)
            if advice is not None:
                loss = torch.lerp(loss, divergence(logits, advice), recipe.distillation)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        state.optimizer.step()
        state.average.update_parameters(state.model)
        return logits.detach(), loss.detach()
