"""A Runner without operations takes what the real one takes and gives what it gives in shape, and computes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.preprocess import prepare
from tests import tiny_artifacts, tiny_graphs


@pytest.mark.parametrize("quantized", [False, True])
def test_an_idle_runner_is_the_same_without_operations(quantized: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(tiny_graphs.classifier(quantized))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    with open_artifact(path) as runner:
        for batch in (1, 5):
            tensor = prepare(images[:batch], runner.input)
            expected = runner.run(tensor)
            idle = runner.idle()
            assert idle is not None
            assert idle.run(tensor).shape == expected.shape
            assert idle.run(tensor).dtype == expected.dtype
            np.testing.assert_array_equal(idle.run(tensor), idle.run(-tensor))
            assert (runner.run(-tensor) != expected).any()
            np.testing.assert_array_equal(runner.run(tensor), expected)


def test_a_file_for_one_image_has_an_idle_one_too(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), batch=1)
    with open_artifact(path) as runner:
        tensor = prepare(tiny_artifacts.images(3), runner.input)
        runner.run(tensor)
        idle = runner.idle()
        assert idle is not None and idle.run(tensor).shape == (3, 3)
