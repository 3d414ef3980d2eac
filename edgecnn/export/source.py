"""A trained model together with all that exporting and judging it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header
from edgecnn.data.dataset import DataSet, Memory, Split, Subset, batches, hold_out, sample
from edgecnn.data.registry import same
from edgecnn.errors import BadFileError, UsageError
from edgecnn.export.parity import PROBES
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.mirrored import Mirrored
from edgecnn.quantize.qat import Trained
from edgecnn.quantize.synthetic import synthesize
from edgecnn.runtime.manifest import SYNTHETIC, Calibration, Qat
from edgecnn.train.recipe import as_before
from edgecnn.train.start import unseen

CALIBRATION_BATCH = 128
CALIBRATION_SEED = 0
PROBE_SEED = 1
SPARE_SEED = 2
SPARE_IMAGES, FEWEST_SPARE = 5000, 100  # to choose on, and as many others to prove the choice on
SYNTHETIC_IMAGES = 128  # to calibrate on, and as many others to compare with float on


@dataclass(frozen=True)
class Source:
    """``model`` in evaluation mode, the header of its weights, and the data set it is calibrated and judged on.

    ``calibration_images`` of the training images give the ranges; test images are only ever scored on. With
    ``trained``, its recipe takes its weights, and but for TorchScript its ranges, instead.

    Without a data set, see ``without_data``, ``dataset`` holds images made from the model and nothing to score on, and
    ``held_out`` uint8 [n, height, width, channels] are others, on which files are compared with the float model.
    """

    model: nn.Module
    header: Header
    dataset: DataSet
    calibration_images: int
    trained: Trained | None = None
    held_out: np.ndarray | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        classes, image = len(self.dataset.classes), self.dataset.image
        arguments = self.header.arguments
        here = (arguments.num_classes, (*arguments.image_size, arguments.in_channels))
        if here != (classes, image):
            raise BadFileError(
                f"the weights of '{self.header.model}' are for {here[0]} classes and images of {_size(here[1])}, but "
                f"data set {self.dataset.name} has {classes} classes and {_size(image)}; "
                f"give --data {self.header.dataset}"
            )
        if self.header.classes != self.dataset.classes:
            raise BadFileError(
                f"the weights of '{self.header.model}' know the classes {_names(self.header.classes)}, but data set "
                f"{self.dataset.name} has {_names(self.dataset.classes)}; give --data {self.header.dataset}"
            )
        if self.calibration_images < 1:
            raise UsageError(f"calibration with {self.calibration_images} images is not possible; give 1 or more")

    @property
    def name(self) -> str:
        """What folders of it are called: model, data set, what it was pruned to, and whether it is mirrored."""
        kind = "mirrored" if self.mirrored else ""
        parts = (models.short_name(self.header.model), Path(self.dataset.name).name, self.header.pruned_to, kind)
        return "-".join(part.replace(":", "") for part in parts if part)

    @property
    def mirrored(self) -> bool:
        """Whether the model gives the mean of what it says of an image and of its mirror image."""
        return isinstance(self.model, Mirrored)

    def looking_twice(self) -> Source:
        """The same, mirrored. Raises UsageError where mirrored images are not what the network was trained for."""
        recipe = self.header.recipe
        if not as_before(recipe, self.dataset.mirrorable)["augmentation"].flip:
            if "augmentation" in recipe:
                reason = f"these weights of '{self.header.model}' were trained without mirror images"
            else:
                reason = f"a mirrored image of {self.dataset.name} does not show its class"
            raise UsageError(f"{reason}, so what the network says of them means nothing; leave --mirrored out")
        return replace(self, model=Mirrored(self.model).eval())

    @property
    def arguments(self) -> ModelArguments:
        """What the model was built with."""
        return self.header.arguments

    @property
    def recorded_accuracy(self) -> float | None:
        """Test accuracy in the header of the weights, if it is for all test images of this data set, seen once."""
        metrics = self.header.metrics
        whole = same(self.header.dataset, self.dataset.name) and metrics.get("test_images") == len(self.dataset.test)
        return metrics.get("test_accuracy") if whole and not self.mirrored else None

    @property
    def calibration(self) -> Calibration:
        """Which images calibrate, as the manifest says it."""
        split = "train" if self.held_out is None else SYNTHETIC
        return Calibration(len(self._calibration_split), CALIBRATION_SEED, split)

    @property
    def qat(self) -> Qat | None:
        """How the trained weights came to be, as the manifest says it."""
        return None if self.trained is None else self.trained.how

    @property
    def _calibration_split(self) -> Subset:
        return sample(self.dataset.train, self.calibration_images, CALIBRATION_SEED)

    def calibration_batches(self) -> Iterator[np.ndarray]:
        """The calibration images uint8 [n, height, width, channels], in pieces."""
        for images, _ in batches(self._calibration_split, CALIBRATION_BATCH):
            yield images

    @property
    def trained_on(self) -> bool:
        """Whether the images of ``spare`` were trained on, as far as the headers of the weights tell."""
        return self._unseen <= 0

    @property
    def _unseen(self) -> float:
        """The share of the training images that no training of the weights saw."""
        headers = [self.header, *([] if self.trained is None else [self.trained.header])]
        return min(unseen(header, self.dataset.name) for header in headers)

    def spare(self) -> tuple[Split, Split]:
        """Training images that calibrate nothing, up to 5,000 to choose on, and as many others to prove the choice on.

        Of weights that were trained with a validation split these are images of that, which they never saw. Raises
        UsageError where there are too few.
        """
        train = self.dataset.train
        rest = np.setdiff1d(np.arange(len(train)), self._calibration_split.indices)
        if 0 < self._unseen < 1:
            rest = np.intersect1d(rest, hold_out(train, self._unseen)[1].indices)
        half = min(len(rest) // 2, SPARE_IMAGES)
        if half < FEWEST_SPARE:
            raise UsageError(
                f"{len(rest)} training images are left to choose layers on and to prove the choice on (at least "
                f"{2 * FEWEST_SPARE}); give --calibration a number below {self.calibration_images}, or more images"
            )
        order = np.random.default_rng(SPARE_SEED).permutation(rest)
        choosing, proving = np.sort(order[:half]), np.sort(order[half : 2 * half])
        return Subset(train, choosing), Subset(train, proving)

    @cached_property
    def probes(self) -> np.ndarray:
        """Up to 1,000 training or made images uint8 [n, height, width, channels] that parity is checked on."""
        split = sample(self.dataset.train, PROBES, PROBE_SEED)
        images = split.take(np.arange(len(split)))[0]
        return images if self.held_out is None else np.concatenate([images, self.held_out])


def _size(image: tuple[int, ...]) -> str:
    return "x".join(map(str, image))


def _names(classes: tuple[str, ...]) -> str:
    shown = ", ".join(classes[:4])
    return shown if len(classes) <= 4 else f"{shown} ..."


def foreign_weights(
    model: str, weights: Path | None, dataset: DataSet, normalization: Normalization | None
) -> tuple[nn.Module, Header]:
    """A model from outside for a data set, with the weights in a file that edgecnn did not write, if there is one.

    Without a file a function of the user's is taken to give the model its weights, and its ``normalization`` is
    edgecnn's unless given; a library's model has none of either kind: BadFileError.
    """
    arguments = ModelArguments.for_images(dataset.image, len(dataset.classes))
    if weights is None and not models.runs_code(model):
        raise BadFileError(
            f"no weights of '{model}' come with edgecnn; train them (edgecnn train --model {model} --data "
            f"{dataset.name}) and give --weights FILE"
        )
    chosen = normalization or models.default_normalization(model, arguments.in_channels)
    if chosen is not None:
        chosen = chosen.for_channels(arguments.in_channels)
    network = models.create(model, arguments, chosen)
    if weights is not None:
        checkpoint.load_foreign(weights, network)
    return network.eval(), Header(model, arguments, dataset.name, dataset.classes, {}, normalization=chosen)


def find_weights(model: str, dataset: str, pruned_to: str = "") -> tuple[nn.Module, Header]:
    """The shipped weights of a model for the data set of that name, whole or ``pruned_to`` a target.

    Raises BadFileError when there are none.
    """
    path = checkpoint.shipped(model, dataset, pruned_to)
    if path is None:
        headers = [header for _, header in checkpoint.all_shipped(model)]
        if pruned_to:
            there = [f"{header.pruned_to} for {header.dataset}" for header in headers if header.pruned_to]
            kind, how = f" pruned to {pruned_to}", f"edgecnn prune --model {model} --target {pruned_to}"
        else:
            there = [header.dataset for header in headers if not header.pruned_to]
            kind, how = "", f"edgecnn train --model {model}"
        raise BadFileError(
            f"no weights of '{model}'{kind} for data set '{dataset}' come with edgecnn (valid: "
            f"{', '.join(there) or 'none'}); make them ({how} --data {dataset}) and give --weights FILE"
        )
    return checkpoint.load_model(path, model)


def without_data(model: nn.Module, header: Header) -> Source:
    """A Source whose images are made from ``model`` itself: no data set is read, and nothing can be scored.

    It takes seconds to minutes. Raises BadFileError for weights that are not finite.
    """
    images = synthesize(model, header.arguments, 2 * SYNTHETIC_IMAGES, CALIBRATION_SEED)
    calibrating, held_out = images[:SYNTHETIC_IMAGES], images[SYNTHETIC_IMAGES:]
    note = f"no image of {header.dataset} was read: calibrated on synthetic images, so the accuracy is unknown"
    nothing = Memory(images[:0], np.zeros(0, np.int64))
    known = Memory(calibrating, np.full(len(calibrating), -1))  # -1: nobody labelled them
    height, width, channels = images.shape[1:]
    dataset = DataSet(header.dataset, header.classes, (height, width, channels), known, nothing, note)
    return Source(model, header, dataset, SYNTHETIC_IMAGES, held_out=held_out)
