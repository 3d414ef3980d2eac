"""A model and its data set must fit."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from edgecnn.errors import BadFileError, UsageError
from edgecnn.export.source import find_weights
from edgecnn.models import ModelArguments
from tests import nets


def changed(**fields):
    source = nets.source("lenet")
    return dataclasses.replace(source, header=dataclasses.replace(source.header, **fields))


def test_weights_for_another_number_of_classes_are_refused():
    with pytest.raises(BadFileError, match="are for 7 classes and images of 32x32x3, but data set digits has 10"):
        changed(arguments=ModelArguments(7))


def test_weights_for_another_image_are_refused():
    with pytest.raises(BadFileError, match="images of 28x32x1, but data set digits has 10 classes and 32x32x3"):
        changed(arguments=ModelArguments(10, 1, (28, 32)))


def test_weights_for_other_classes_of_the_same_number_are_refused():
    """CIFAR-10 and the digits both have ten classes of 32x32x3."""
    animals = tuple(f"animal {number}" for number in range(10))
    message = r"the classes animal 0, .*animal 3 \.\.\., but data set digits has 0, 1, 2, 3 \.\.\.; give --data zoo"
    with pytest.raises(BadFileError, match=message):
        changed(classes=animals, dataset="zoo")


def test_calibration_needs_an_image():
    with pytest.raises(UsageError, match="calibration with 0 images is not possible"):
        dataclasses.replace(nets.source("lenet"), calibration_images=0)


def test_calibration_and_probes_are_training_images_and_always_the_same():
    source = nets.source("lenet")
    batches = list(source.calibration_batches())
    again = list(dataclasses.replace(source).calibration_batches())
    assert sum(map(len, batches)) == source.calibration.images == 512
    assert all(np.array_equal(first, second) for first, second in zip(batches, again, strict=True))
    train = {image.tobytes() for image in source.dataset.train.take(np.arange(len(source.dataset.train)))[0]}
    assert {image.tobytes() for batch in batches for image in batch} <= train
    assert {image.tobytes() for image in source.probes} <= train
    assert len(source.probes) == 1000
    more = dataclasses.replace(source, calibration_images=10**6)
    assert more.calibration.images == len(source.dataset.train)


def test_recorded_accuracy_counts_only_on_the_images_it_was_measured_on():
    source = nets.source("lenet")
    assert source.recorded_accuracy == source.header.metrics["test_accuracy"]
    assert changed(dataset="cifar10").recorded_accuracy is None
    assert changed(metrics={"test_accuracy": 0.5, "test_images": 449}).recorded_accuracy is None
    assert changed(metrics={}).recorded_accuracy is None


@pytest.mark.parametrize("written", ["my/animals/", "./my/animals", os.path.abspath("my/animals")])
def test_a_folder_is_the_one_that_was_trained_on_however_it_is_written(written):
    trained = changed(dataset="my/animals")
    here = dataclasses.replace(trained, dataset=dataclasses.replace(trained.dataset, name=written))
    assert here.trained_on
    assert here.recorded_accuracy == trained.header.metrics["test_accuracy"]
    elsewhere = dataclasses.replace(trained, dataset=dataclasses.replace(trained.dataset, name="other/animals"))
    assert (elsewhere.trained_on, elsewhere.recorded_accuracy) == (False, None)


def test_a_folder_that_is_called_as_a_data_set_is_another():
    trained = nets.source("lenet")
    folder = dataclasses.replace(trained.dataset, name=os.path.abspath(trained.dataset.name))
    assert (trained.trained_on, dataclasses.replace(trained, dataset=folder).trained_on) == (True, False)


def test_a_data_set_without_shipped_weights_is_told_how_to_get_them():
    with pytest.raises(BadFileError, match="no weights of 'lenet' for data set 'my/animals'.*edgecnn train"):
        find_weights("lenet", "my/animals")
