"""Widths as data: a narrow network comes back from them, and nonsense is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn import models
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.widths import narrowed, resize, widths_from_json, widths_of

SMALL = ModelArguments(3, 1, (16, 16))


def test_a_network_is_made_narrower_and_still_takes_images() -> None:
    model = models.create("depthwise", SMALL)
    before = widths_of(model)
    # Eight of the sixteen channels between the second and the third stage.
    narrow = {"conv2.point": (6, 8), "bn2": (8, 8), "conv3.depth": (8, 8), "conv3.point": (8, 16)}
    assert resize(model, narrow, SMALL) is model
    assert narrowed(model, before) == narrow
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 3)
    depth = model.get_submodule("conv3.depth")
    assert isinstance(depth, nn.Conv2d)
    assert (depth.groups, depth.weight.shape) == (8, (8, 1, 5, 5))


def test_a_network_of_any_mode_keeps_it() -> None:
    model = models.create("lenet", SMALL).train()
    assert resize(model, {"fc2": (120, 80), "fc3": (80, 3)}, SMALL).training


@pytest.mark.parametrize(
    ("widths", "part"),
    [
        ({"conv9": (1, 1)}, "the model has no layer 'conv9' whose channels could be changed"),
        ({"pool1": (1, 1)}, "the model has no layer 'pool1'"),
        ({"x" * 5000: (1, 1)}, "the model has no layer 'x"),
        ({"conv2.point": (6, 10**12)}, "layer 'conv2.point' cannot have 6 channels in and 1000000000000 out"),
        ({"conv2.point": (6, 17)}, "the architecture has 6 and 16"),
        ({"bn2": (8, 16)}, "layer 'bn2' has as many channels in as out, not 8 and 16"),
        ({"conv2.depth": (3, 6)}, "layer 'conv2.depth' has as many channels in as out, not 3 and 6"),
        ({"conv2.point": (6, 8)}, "the widths of its layers do not fit each other"),
        ({"fc3": (84, 2)}, "the widths of its layers leave other than one logit for each class"),
    ],
)
def test_widths_that_make_no_network_are_refused(widths: dict[str, tuple[int, int]], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        resize(models.create("depthwise", SMALL), widths, SMALL)
    assert part in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", [[], "x", {"a": 3}, {"a": [1]}, {"a": [1, 0]}, {"a": [1.5, 2]}, {"a": [True, 2]}])
def test_what_is_no_widths_in_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="^widths "):
        widths_from_json(value)
