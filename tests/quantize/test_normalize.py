"""A model's own normalization in its first layer: exact to the border, whichever form it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.normalization import attach
from edgecnn.quantize import ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.graph import held_batchnorm
from edgecnn.quantize.layers import Scale
from edgecnn.quantize.normalize import OnesChannel, form_of
from edgecnn.quantize.simulate import Mode, mode_of
from tests import nets

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIZE = ModelArguments(4, 3, (9, 12))


def first(layer, *more):
    torch.manual_seed(4)
    return attach(nn.Sequential(layer, *more), IMAGENET)


CASES = [
    ("folded", nn.Conv2d(3, 5, 3)),
    ("folded", nn.Conv2d(3, 5, 4, stride=4, bias=False, padding="valid")),
    ("ones", nn.Conv2d(3, 5, 3, padding=1)),
    ("ones", nn.Conv2d(3, 5, 3, stride=2, padding=(0, 2), bias=False)),
    ("ones", nn.Conv2d(3, 5, 3, padding="same", dilation=2)),
    ("layer", nn.Conv2d(3, 6, 3, padding=1, groups=3)),
    ("layer", nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect")),
    ("layer", nn.MaxPool2d(2)),
]


@pytest.mark.parametrize(("form", "layer"), CASES)
def test_the_form_is_the_cheapest_and_every_pixel_is_exact(form, layer):
    model = first(layer)
    graph_module = fold(model, SIZE)
    x = nets.inputs(2, 3, 9, 12)
    nets.assert_close(graph_module(x), model(x))
    assert form_of(graph_module) == form
    added = {"folded": 0, "ones": 1, "layer": 1}[form]
    assert sum(isinstance(part, OnesChannel | Scale) for part in graph_module.modules()) == added


@pytest.mark.parametrize(("normalization", "ones"), [(IMAGENET, 1), (Normalization((0.0,) * 3, (1.0,) * 3), 3)])
def test_the_weights_of_the_ones_do_not_set_the_steps_of_those_of_the_image(normalization, ones):
    """Of a filter that adds up an image of 0 to 1, whose mean is its largest part by far."""
    layer = nn.Conv2d(3, 5, 3, padding=1)
    layer.weight.data.abs_()
    model = attach(nn.Sequential(layer), normalization)
    graph_module = fold(model, SIZE)
    x = nets.inputs(2, 3, 9, 12)
    nets.assert_close(graph_module(x), model(x))
    weight = graph_module.get_parameter("0.weight").abs()
    assert weight.shape[1] == 3 + ones
    assert (weight[:, 3:].amax((1, 2, 3)) <= 1.02 * weight[:, :3].amax((1, 2, 3))).all()


def test_padding_of_its_own_before_the_convolution_counts():
    model = first(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 5, 3, stride=2))
    graph_module = fold(model, SIZE)
    x = nets.inputs(2, 3, 9, 12)
    nets.assert_close(graph_module(x), model(x))
    assert form_of(graph_module) == "ones"


def test_edgecnns_own_mean_needs_no_ones_whatever_the_padding():
    model = attach(nn.Sequential(nn.Conv2d(3, 5, 3, padding=1)), Normalization((128 / 255,) * 3, (0.3, 0.2, 0.1)))
    graph_module = fold(model, SIZE)
    x = nets.inputs(2, 3, 9, 12)
    nets.assert_close(graph_module(x), model(x))
    assert form_of(graph_module) == "folded"


@pytest.mark.parametrize("padding", [0, 1])
def test_training_knows_of_the_batchnorm_behind_the_first_layer(padding):
    graph_module = fold(first(nn.Conv2d(3, 5, 3, padding=padding), nn.BatchNorm2d(5)).eval(), SIZE)
    assert held_batchnorm(graph_module.get_submodule("0"))


def test_a_model_without_one_says_so():
    assert form_of(fold(nn.Sequential(nn.Conv2d(3, 5, 3)), SIZE)) == ""


@pytest.mark.parametrize("mode", [Mode.SIMULATE, Mode.TFLITE, Mode.ONNX])
def test_the_ones_channel_leaves_every_pixel_value_as_it_is(mode):
    pictures = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    model = attach(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)), Normalization((0.1,), (0.3,)))
    graph_module = ptq.calibrate(model, ModelArguments(2, 1, (16, 16)), [pictures], ())
    layer = graph_module.get_submodule("normalization")
    assert isinstance(layer, nn.Conv2d)
    pixels = (torch.from_numpy(pictures).float().permute(0, 3, 1, 2) - 128) / 64
    with mode_of(graph_module, mode), torch.no_grad():
        both = graph_module.get_submodule("quantizer_input_1")(layer(pixels))
    assert torch.equal(both[:, :1], pixels)
    assert torch.equal(both[:, 1:], torch.full((1, both.shape[1] - 1, 16, 16), 127 / 64))
