"""Images made from a model: they give its BatchNorms what is stored, and its classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.data.augment import to_input
from edgecnn.errors import BadFileError
from edgecnn.quantize.synthetic import start, synthesize, to_pixels
from tests import nets


def distance(model, images):
    """Mean over the BatchNorms of the error of their inputs' mean, in stored standard deviations."""
    errors = []

    def look(norm, inputs):
        wrong = (inputs[0].mean((0, 2, 3)) - norm.running_mean).abs() / norm.running_var.sqrt()
        errors.append(float(wrong.mean()))

    hooks = [part.register_forward_pre_hook(look) for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        model(to_input(torch.from_numpy(images)))
    for hook in hooks:
        hook.remove()
    return np.mean(errors)


@pytest.fixture(scope="module")
def made():
    source = nets.source("mod_cnn")
    return synthesize(source.model, source.arguments, 20, seed=3)


def test_they_are_pixels_and_give_the_statistics_that_are_stored(made):
    source = nets.source("mod_cnn")
    assert (made.dtype, made.shape) == (np.uint8, (20, 32, 32, 3))
    noise = to_pixels(start(source.arguments, 20, seed=3))
    assert distance(source.model, made) < 0.5 * distance(source.model, noise)


def test_every_class_is_there(made):
    source = nets.source("mod_cnn")
    with torch.no_grad():
        found = source.model(to_input(torch.from_numpy(made))).argmax(1).numpy()
    assert np.mean(found == np.arange(20) % 10) >= 0.9


def test_the_same_seed_gives_the_same_images_and_leaves_the_model_alone():
    source = nets.source("lenet")
    before = {name: tensor.clone() for name, tensor in source.model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in source.model.parameters()]
    first, second = (synthesize(source.model, source.arguments, 4, seed) for seed in (0, 0))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, synthesize(source.model, source.arguments, 4, 1))
    assert all(torch.equal(before[name], tensor) for name, tensor in source.model.state_dict().items())
    assert flags == [parameter.requires_grad for parameter in source.model.parameters()]


def test_weights_that_are_no_numbers_are_refused():
    source = nets.source("lenet")
    model = nets.untrained("lenet")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(BadFileError, match="not finite"):
        synthesize(model, source.arguments, 2, 0)
