"""The embedded digits: shape, range and a split that never moves."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edgecnn.data.dataset import everything
from edgecnn.data.registry import load
from edgecnn.errors import MissingExtraError


def test_shape_classes_and_range():
    dataset = load("digits")
    assert (dataset.name, dataset.classes, dataset.image) == ("digits", tuple("0123456789"), (32, 32, 3))
    assert dataset.note == ""
    assert (len(dataset.train), len(dataset.test)) == (1347, 450)
    images, labels = everything(dataset.train)
    assert images.shape == (1347, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert (images.min(), images.max()) == (0, 255)
    assert (images[..., :1] == images).all(), "the three channels are the same grey"


def test_the_split_is_stratified_fixed_and_loses_no_image():
    dataset = load("digits")
    train, test = everything(dataset.train)[1], everything(dataset.test)[1]
    whole = np.bincount(load_digits().target)
    np.testing.assert_array_equal(np.bincount(train) + np.bincount(test), whole)
    assert np.abs(np.bincount(test) - whole / 4).max() < 1
    assert set(test[:50]) == set(range(10)), "the first images are not of one class"
    assert hashlib.sha256(test.astype(np.uint8).tobytes()).hexdigest()[:16] == "c26fc37893cfa0f3"


def test_an_image_is_the_source_enlarged_bilinearly():
    source = load_digits()
    values = source.images[np.flatnonzero(source.target == 0)[0]] * (255 / 16)
    centres = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)  # of the large pixels, counted in small ones
    columns = np.stack([np.interp(centres, np.arange(8), row) for row in values])
    expected = np.stack([np.interp(centres, np.arange(8), column) for column in columns.T], axis=1)
    images, labels = everything(load("digits").test)
    image = images[np.flatnonzero(labels == 0)[0], :, :, 0]
    np.testing.assert_allclose(image, expected, atol=1.5)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"scikit-learn.*edgecnn\[train\]"):
        load("digits")


def test_digits_are_not_to_be_mirrored():
    assert not load("digits").mirrorable
