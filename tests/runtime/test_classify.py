"""Raw outputs to logits and names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgecnn.runtime.classify import classify, dequantize, predict, probabilities, top
from edgecnn.runtime.fake import FakeRunner
from edgecnn.runtime.preprocess import OutputSpec


def test_dequantize() -> None:
    raw = np.array([[-128, 0, 127]], np.int8)
    logits = dequantize(raw, OutputSpec("int8", 0.5, -128))
    assert logits.dtype == np.float32
    assert logits.tolist() == [[0.0, 64.0, 127.5]]


def test_predict_goes_through_the_input_convention() -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = [0, 7, 255]
    with FakeRunner(classes=10, image=(8, 8, 3), mistakes={7: 1}) as runner:
        assert predict(runner, images).argmax(1).tolist() == [0, 1, 5]
    assert runner.closed


def test_top_is_best_first_and_stable() -> None:
    assert top(np.array([0.5, 2.0, 0.5, -1.0], np.float32), "abcd", 3) == [("b", 2.0), ("a", 0.5), ("c", 0.5)]
    names = [str(index) for index in range(1000)]
    assert top(np.tile([0.0, 1.0], 500), names, 3) == [("1", 1.0), ("3", 1.0), ("5", 1.0)]
    assert len(top(np.zeros(2, np.float32), "ab", 5)) == 2


def test_probabilities_are_the_softmax_of_logits_of_any_size() -> None:
    assert probabilities(np.array([0, np.log(3)], np.float32)).tolist() == pytest.approx([0.25, 0.75])
    assert probabilities(np.array([5000, -5000], np.float32)).tolist() == [1, 0]


@pytest.mark.parametrize(("channels", "seen"), [(4, "3"), (3, "4")], ids=["kept", "laid over grey"])
def test_what_is_transparent_stays_so_where_the_network_was_trained_with_it(tmp_path, channels: int, seen: str) -> None:
    Image.new("RGBA", (8, 8), (3, 3, 3, 0)).save(tmp_path / "x.png")
    with FakeRunner(classes=124, image=(8, 8, channels)) as runner:
        answer = classify(runner, [str(index % 124) for index in range(124)], tmp_path / "x.png", 1)
    assert answer.best[0].label == seen
