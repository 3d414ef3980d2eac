"""The embedded data set: scikit-learn's 1,797 handwritten digits, brought to CIFAR-10's shape. Needs no network.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), test part.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgecnn.data.dataset import DataSet, Memory
from edgecnn.errors import MissingExtraError

CLASSES = tuple("0123456789")
SIDE = 32
_INK = 16  # the brightest value of the source


def load() -> DataSet:
    """1,347 training and 450 test images, 32x32x3.

    The 8x8 images of 0..16 are scaled to 0..255, enlarged by Pillow's bilinear filter, and repeated on three
    channels. With the images of each class counted in the order of the source, every fourth is a test image:
    a rule without random numbers, so the split is the same everywhere.
    Raises MissingExtraError when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingExtraError("the data set 'digits'", "scikit-learn", "train") from error
    source = load_digits()
    labels = source.target.astype(np.int64)
    images = np.stack([_enlarge(image) for image in source.images])
    by_class = np.argsort(labels, kind="stable")
    test = np.zeros(len(labels), bool)
    test[by_class[::4]] = True
    return DataSet(
        "digits",
        CLASSES,
        (SIDE, SIDE, 3),
        Memory(images[~test], labels[~test]),
        Memory(images[test], labels[test]),
        mirrorable=False,  # a mirrored 2 is no digit
    )


def _enlarge(image: np.ndarray) -> np.ndarray:
    """float [8, 8] of 0..16 to uint8 [32, 32, 3]."""
    grey = Image.fromarray(np.rint(image * (255 / _INK)).astype(np.uint8))
    large = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return np.repeat(large[:, :, None], 3, axis=2)
