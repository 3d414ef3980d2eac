"""Where a step's batch comes from: made when it is needed, or out of a view, which is made ahead and comes back.

A teacher several times as large as its pupil makes most of the work of a training. With views it is asked once about
each of a number of augmented copies of all images, and its answers are kept on disk for every pupil to come (Z. Shen
and E. Xing, "A fast knowledge distillation framework for visual recognition", 2022).

Where images are mirrored at random, it is asked about each copy and about its mirror image, and the mean is what it
says of both (test-time augmentation, as in A. Krizhevsky et al., "ImageNet classification with deep convolutional
neural networks", 2012). So pupils may mirror a view anew each time, and one is as good as two.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Generator, Tensor, nn

from edgecnn.checkpoint import digest
from edgecnn.data.augment import flip, to_input
from edgecnn.errors import BadFileError
from edgecnn.runtime.files import write_bytes
from edgecnn.runtime.places import cache_folder
from edgecnn.train.distill import members
from edgecnn.train.processes import Processes
from edgecnn.train.randomness import AUGMENT, VIEW, seed
from edgecnn.train.recipe import TrainRecipe

VARIABLE = "EDGECNN_CACHE"
CHUNK = 1000  # images that are augmented and shown to the teacher at once
_ADVICE = "logits"
_FORMAT = 3  # of what is augmented and asked how; goes up when a view of the same settings becomes another


@dataclass(frozen=True)
class Batch:
    """Augmented ``images`` uint8 [n, height, width, channels] and ``labels`` int64 [n].

    ``advice`` are a teacher's logits [n, classes] where it was asked before.
    """

    images: Tensor
    labels: Tensor
    advice: Tensor | None = None


class Source(Protocol):
    """Gives the batches of an epoch, once it was told which."""

    def begin(self, epoch: int) -> None:
        """From now on batches are of ``epoch``, counted from 0."""

    def batch(self, chosen: Tensor) -> Batch:
        """The batch of the images at the indices ``chosen``, int64 [n]."""


@dataclass
class Fresh:
    """New augmentation for every batch. ``images`` uint8 [n, height, width, channels] and ``labels`` int64 [n]."""

    images: Tensor
    labels: Tensor
    recipe: TrainRecipe
    rank: int
    _generator: Generator = field(default_factory=Generator, init=False)

    def begin(self, epoch: int) -> None:
        """Starts the epoch's own random numbers."""
        self._generator.manual_seed(seed(self.recipe.seed, epoch, AUGMENT + self.rank))

    def batch(self, chosen: Tensor) -> Batch:
        """Augments the images now."""
        # index_select copies whole images; indexing with [] goes byte by byte and takes 15 times as long.
        images, labels = self.images.index_select(0, chosen), self.labels.index_select(0, chosen)
        return Batch(self.recipe.augmentation(images, self._generator), labels)


class Views:
    """As many augmented copies of all images as the recipe says, one for each epoch, again and again.

    If the recipe mirrors images, those of a view are mirrored for every batch, and answers are to both.
    ``teacher``, as it is asked, gives its answers, which are kept below the cache folder under what they depend on;
    those of each network of a committee by themselves, for other committees.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, recipe: TrainRecipe, teacher: nn.Module, processes: Processes
    ) -> None:
        self._images, self._labels, self._recipe = images, labels, recipe
        self._processes = processes
        self._still = replace(recipe.augmentation, flip=False)
        self._generator = Generator()
        answers = cache_folder(VARIABLE) / "answers"
        self._asked = [(member, answers / self._key(member)) for member in members(teacher)]
        self._number: int | None = None

    def begin(self, epoch: int) -> None:
        """Makes the epoch's view, and reads or asks what the teacher says of it. Raises BadFileError, OutputError."""
        number = epoch % self._recipe.views
        if number != self._number:
            self._view, self._advice = self._made(number)
            self._number = number
        self._generator.manual_seed(seed(self._recipe.seed, epoch, AUGMENT + self._processes.rank))

    def batch(self, chosen: Tensor) -> Batch:
        """Takes the images out of the view, and mirrors some."""
        images, labels, advice = (each.index_select(0, chosen) for each in (self._view, self._labels, self._advice))
        return Batch(flip(images, self._generator) if self._mirrors else images, labels, advice)

    @property
    def _mirrors(self) -> bool:
        return self._recipe.augmentation.flip

    def _made(self, number: int) -> tuple[Tensor, Tensor]:
        """The images of a view, augmented but not mirrored, and the teacher's logits float32 [n, classes]."""
        generator = Generator().manual_seed(seed(self._recipe.seed, number, VIEW))
        view = torch.cat([self._still(chunk, generator) for chunk in self._images.split(CHUNK)])
        paths = [folder / f"{number}.safetensors" for _, folder in self._asked]
        for (member, _), path in zip(self._asked, paths, strict=True):
            if self._processes.agreed(path.exists(), view.device):
                continue
            answers = self._ask(member, view)
            if self._processes.first:
                write_bytes(path, tensors_to_bytes({_ADVICE: answers.half().cpu()}))
        self._processes.wait()
        return view, torch.stack([self._read(path).float() for path in paths]).mean(0).to(view.device)

    def _ask(self, network: nn.Module, images: Tensor) -> Tensor:
        """What a network says of a view; each process asks about its share."""
        answers = []
        precision = self._recipe.precision == "bfloat16"
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=precision):
            for chunk in images.split(CHUNK):
                seen = to_input(self._processes.share(chunk))
                answer = network(seen).float()
                if self._mirrors:
                    answer = (answer + network(seen.flip(3)).float()) / 2
                answers.append(self._processes.together(answer, len(chunk)))
        return torch.cat(answers)

    def _read(self, path: Path) -> Tensor:
        try:
            advice = tensors_from_bytes(path.read_bytes())[_ADVICE]
        except (OSError, SafetensorError, KeyError) as error:
            raise BadFileError(f"cannot read a teacher's answers from {path} ({error}); remove that file") from error
        if advice.ndim != 2 or len(advice) != len(self._labels) or not advice.is_floating_point():
            raise BadFileError(f"{path} holds no answers to {len(self._labels)} images; remove that file")
        return advice

    def _key(self, network: nn.Module) -> str:
        """Hex SHA-256 of all that a network's answers depend on but the number of the view."""
        recipe = self._recipe.to_json()
        asked = {name: recipe[name] for name in ("augmentation", "precision", "seed")}
        known = [_FORMAT, CHUNK, asked, str(network), digest(network)]  # the same weights serve several shapes of a net
        found = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
        found.update(self._images.cpu().numpy().tobytes())
        return found.hexdigest()
