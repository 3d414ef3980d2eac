"""The gate's limits."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.errors import CheckFailedError
from edgecnn.export import parity
from edgecnn.export.drafts import Order, make
from edgecnn.measure.accuracy import Score
from edgecnn.measure.comparison import Comparison
from edgecnn.quantize.recipe import STATIC_W8A8
from tests import nets
from tests.export import breaking


def blame():
    return "first layer at fault: conv7"


def logits(count=200):
    return np.random.default_rng(0).normal(0, 3, (count, 10)).astype(np.float32)


@pytest.mark.parametrize(("largest", "allowed"), [(0.5, 1e-4), (10.0, 1e-4), (40.0, 4e-4)])
def test_float_logits_may_differ_by_a_ten_thousandth_or_where_they_are_large_by_a_share(largest, allowed):
    reference = logits()
    reference *= largest / np.abs(reference).max()
    near, far = reference.copy(), reference.copy()
    near[7, 3] += 0.9 * allowed
    far[7, 3] += 1.1 * allowed
    gate = parity.check_float("a.tflite", near, reference, blame)
    assert gate["images"] == 200
    assert gate["max_logit_difference"] == pytest.approx(0.9 * allowed, rel=0.05)
    assert gate["allowed_logit_difference"] == pytest.approx(allowed)
    with pytest.raises(CheckFailedError, match=rf"a\.tflite: logits differ by .* up to {largest:.2g}\); .*: conv7$"):
        parity.check_float("a.tflite", far, reference, blame)


@pytest.mark.parametrize("check", [parity.check_float, parity.check_quantized])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_never_passes(check, value):
    reference = logits()
    broken = reference.copy()
    broken[3, 3] = value
    with pytest.raises(CheckFailedError, match="conv7"):
        check("a.tflite", broken, reference, blame)


def test_quantized_files_agree_on_97_of_100():
    reference = logits()
    for wrong in (6, 7):
        changed = reference.copy()
        changed[:wrong] = -changed[:wrong]
        if wrong == 6:
            gate = parity.check_quantized("a.tflite", changed, reference, blame)
            assert gate["agreement"] == 0.97
            assert gate["mean_logit_difference"] == pytest.approx(np.abs(changed - reference).mean())
        else:
            with pytest.raises(CheckFailedError, match=r"on only 96\.5 % of 200 images \(at least 97 %\).*conv7"):
                parity.check_quantized("a.tflite", changed, reference, blame)


def score(right, images=1000):
    labels = np.zeros(images, np.int64)
    return Score((np.arange(images) >= right).astype(np.int64), labels)


def test_a_file_that_always_says_the_same_is_refused_though_it_agrees():
    reference = np.tile([[1.0, 0.0]], (200, 1)) + np.random.default_rng(0).normal(0, 0.01, (200, 2))
    with pytest.raises(CheckFailedError, match=r"a\.tflite: gives the same logits for all 200 images.*conv7"):
        parity.check_quantized("a.tflite", np.tile([[1.0, 0.0]], (200, 1)), reference, blame)
    steady = np.tile([[1.0, 0.0]], (200, 1))
    assert parity.check_quantized("a.tflite", steady, steady, blame)["agreement"] == 1


@pytest.mark.parametrize(("right", "images", "good"), [(984, 1000, True), (970, 1000, False), (96, 100, True)])
def test_a_loss_beside_float_must_surely_be_more_than_a_point(right, images, good):
    change = Comparison(score(images, images), score(right, images))
    if good:
        assert parity.check_loss("a", change, blame) == {"float_accuracy": 1.0}
    else:
        with pytest.raises(CheckFailedError, match=r"accuracy 97\.00 % on 1000 images is 3\.00 points below .*conv7"):
            parity.check_loss("a", change, blame)


def test_accuracy_may_be_one_point_below_the_recorded():
    assert parity.check_accuracy("a", score(900), 0.91, blame) == {"recorded_accuracy": 0.91}
    assert parity.check_accuracy("a", score(1000), 0.91, blame) == {"recorded_accuracy": 0.91}
    assert parity.check_accuracy("a", score(10), None, blame) == {"recorded_accuracy": None}
    with pytest.raises(CheckFailedError, match=r"accuracy 89\.90 % on 1000 images is more than 1 point below .*conv7"):
        parity.check_accuracy("a", score(899), 0.91, blame)


@pytest.mark.usefixtures("stored_conversions")
def test_the_structure_of_a_sound_and_of_a_broken_file():
    content = make(Order("tflite", STATIC_W8A8), nets.source("lenet")).content
    name = ["one", "two", "three", "four", "five", "six", "seven"].__getitem__
    gate = parity.check_structure("a.tflite", content, name)
    assert gate | {"operations": 0} == {
        "operations": 0, "quantize_ops": 0, "dequantize_ops": 0, "transpose_ops": 0, "xnnpack_partitions": 1,
        "ops_outside_xnnpack": "",
    }  # fmt: skip
    for position, factor in ((2, 0.66), (6, 1.0001)):
        broken = breaking.with_bias_scale(content, position, factor)
        with pytest.raises(CheckFailedError, match=rf"the bias scale of layer {name(position)} \("):
            parity.check_structure("a.tflite", broken, name)
