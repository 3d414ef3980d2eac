"""A model's own normalization: what it sees, and what is no normalization."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.errors import UsageError
from edgecnn.models import Normalization, create
from edgecnn.models.normalization import attach, detach, normalization_of
from edgecnn.runtime.preprocess import normalize
from tests import nets

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_architecture_sees_pixels_as_torchvision_would_give_them():
    pictures = nets.images(2, (5, 4, 3))
    given = torch.from_numpy(normalize(pictures)).permute(0, 3, 1, 2)
    wanted = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - torch.tensor(IMAGENET.mean).view(3, 1, 1)) / (
        torch.tensor(IMAGENET.std).view(3, 1, 1)
    )
    nets.assert_close(attach(nn.Identity(), IMAGENET)(given), wanted, 1e-6)


def test_names_of_modules_and_weights_stay():
    plain, own = create("lenet"), create("lenet", normalization=IMAGENET)
    assert list(plain.state_dict()) == list(own.state_dict())
    assert normalization_of(copy.deepcopy(own)) == IMAGENET
    assert normalization_of(plain) is None
    detach(own)
    assert normalization_of(own) is None


def test_one_value_serves_all_channels_and_other_numbers_do_not():
    grey = Normalization((0.5,), (0.25,))
    assert grey.for_channels(4) == Normalization((0.5,) * 4, (0.25,) * 4)
    with pytest.raises(UsageError, match="have 3 values, but the images have 1 channels"):
        IMAGENET.for_channels(1)


def test_edgecnns_own_convention_is_one_of_these():
    own = Normalization((128 / 255,), (64 / 255,))
    assert (own.factor, own.shift) == ([1.0], [0.0])


@pytest.mark.parametrize(
    ("mean", "std"), [((), ()), ((0.5,), (0.5, 0.5)), ((0.5,), (0.0,)), ((float("nan"),), (1.0,)), ((0.5,), (np.inf,))]
)
def test_what_is_no_normalization_is_refused(mean, std):
    with pytest.raises(UsageError, match="mean"):
        Normalization(mean, std)


def test_json_gives_it_back():
    assert Normalization.from_json(IMAGENET.to_json()) == IMAGENET
