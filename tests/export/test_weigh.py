"""Files of networks beside the model's: real ones, timed by a script."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from edgecnn.errors import CheckFailedError
from edgecnn.export.weigh import Scale
from edgecnn.models.widths import resize
from tests import nets
from tests.measure.scripted_costs import ScriptedCosts

pytestmark = pytest.mark.usefixtures("stored_conversions")


def narrow() -> torch.nn.Module:
    """The shipped lenet with the first 80 of its 120 values behind the first linear layer."""
    source = nets.source("lenet")
    return resize(copy.deepcopy(source.model), {"fc1": (400, 80), "fc2": (80, 84)}, source.arguments)


def test_a_narrower_network_is_a_smaller_file_and_time_is_what_was_measured(tmp_path: Path) -> None:
    timer = ScriptedCosts(lambda path: 7.0 if "model" in path.name or "whole" in path.name else 3.5)
    scale = Scale(nets.source("lenet"), tmp_path, timer)
    share = scale.bytes(narrow())
    assert 0.7 < share < 0.8
    assert scale.latency(narrow()) == 0.5
    assert scale.latency(narrow()) == 0.5
    assert [[path.name for path in paths] for paths in timer.screened] == [["model.tflite", "network.tflite"]] * 2
    for well in (False, True):
        weighed = scale.weigh(narrow(), well)
        assert weighed.bytes[1] / weighed.bytes[0] == pytest.approx(share, abs=0.001)
        assert weighed.microseconds[1] / weighed.microseconds[0] == pytest.approx(0.5)
    assert [path.name for path in timer.decided] == ["whole_lenet_static_w8a8.tflite", "other_lenet_static_w8a8.tflite"]


def test_a_file_that_cannot_be_timed_fails(tmp_path: Path) -> None:
    scale = Scale(nets.source("lenet"), tmp_path, ScriptedCosts(lambda path: "was killed by SIGILL"))
    with pytest.raises(CheckFailedError, match="could not be timed: was killed by SIGILL"):
        scale.latency(narrow())
