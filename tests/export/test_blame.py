"""The layer at fault is found and called by the name it has in the model."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgecnn.data.augment import to_input
from edgecnn.export import blame, tflite
from edgecnn.export.drafts import Order, make
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, parse
from edgecnn.runtime.preprocess import InputSpec
from tests import nets
from tests.export import breaking

pytestmark = pytest.mark.usefixtures("stored_conversions")

NAMES = {
    "lenet": ["conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3"],
    "depthwise": [
        "conv1.point", "pool1", "conv2.depth", "conv2.point", "pool2", "conv3.depth", "conv3.point", "conv4.depth",
        "conv4.point", "fc1", "fc2", "fc3",
    ],
    "resnet8": [
        "conv0", "res1.conv1", "res1.conv2", "res2.conv1", "res2.conv2", "res2.shortcut", "res3.conv1", "res3.conv2",
        "res3.shortcut", "fc",
    ],
}  # fmt: skip
INT8 = InputSpec(32, 32, 3, dtype="int8", scale=1 / 64)


def draft_of(model, recipe):
    return make(Order("tflite", recipe), nets.source(model))


def first_fault(content, draft):
    spec = INT8 if draft.recipe is STATIC_W8A8 else InputSpec(32, 32, 3)
    return blame.first_fault(content, draft.graph, nets.source("lenet").probes, spec)


@pytest.mark.parametrize("model", NAMES)
def test_layers_have_their_names_in_the_order_of_execution(model):
    draft = draft_of(model, STATIC_W8A8)
    found = blame.layer_names(draft.content, draft.graph)
    if model == "resnet8":  # its shortcuts run beside the other layers, in either order
        assert sorted(found) == sorted(NAMES[model])
    else:
        assert found == NAMES[model]
    floats = draft_of(model, FLOAT32)
    found = blame.layer_names(floats.content, floats.graph)
    assert sorted(found) == sorted(name for name in NAMES[model] if not name.startswith("pool"))


@pytest.mark.parametrize("recipe", ["dynamic_w8", "weight_w8", "float16"])
def test_layers_of_files_with_small_weights_have_names_too(recipe):
    draft = draft_of("lenet", parse(recipe))
    assert blame.layer_names(draft.content, draft.graph) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    layers = list(TFLiteGraph(draft.content).layers())
    assert {layer.weight.dtype.name for layer in layers} == {"float16" if recipe == "float16" else "int8"}


@pytest.mark.parametrize("recipe", [FLOAT32, STATIC_W8A8], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("model", ["lenet", "depthwise"])
def test_a_sound_file_has_no_layer_at_fault(model, recipe):
    draft = draft_of(model, recipe)
    assert first_fault(draft.content, draft).startswith("no layer differs by more than 5%, the most is ")


def test_a_linear_layer_of_pixels_is_held_against_pixels():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pixels, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(F.relu(self.pixels(self.conv(x).permute(0, 2, 3, 1))).mean((1, 2)))

    torch.manual_seed(1)
    arguments = ModelArguments(2, 3, (6, 8))
    graph_module = passes.apply(fold(Net().eval(), arguments), (), arguments)
    content = tflite.convert_float(graph_module, arguments)
    assert blame.layer_names(content, graph_module) == ["conv", "pixels", "head"]
    found = blame.first_fault(content, graph_module, nets.images(4, (6, 8, 3)), InputSpec(6, 8, 3))
    assert found.startswith("no layer differs by more than 5%")


@pytest.mark.parametrize("change", [breaking.scrambled, breaking.replaced], ids=lambda change: change.__name__)
@pytest.mark.parametrize("recipe", [FLOAT32, STATIC_W8A8], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("model", NAMES)
def test_the_layer_with_wrong_weights_is_named(model, recipe, change):
    draft = draft_of(model, recipe)
    names = blame.layer_names(draft.content, draft.graph)
    for position in (0, len(names) // 2, len(names) - 1):
        if names[position].startswith("pool"):
            position -= 1  # equal weights in any order are the same pool
        broken = breaking.with_weights(draft.content, position, change)
        assert blame.layer_names(broken, draft.graph) == names
        assert first_fault(broken, draft).startswith(f"first layer at fault: {names[position]} (")


def test_the_layer_whose_range_is_wrong_in_the_reference_is_named():
    draft = draft_of("lenet", STATIC_W8A8)
    draft.graph.get_submodule("quantizer_conv2").high.mul_(0.3)
    draft.graph.get_submodule("quantizer_conv2").low.mul_(0.3)
    assert first_fault(draft.content, draft).startswith("first layer at fault: conv2 (")


def test_a_layer_that_the_model_cannot_have_is_said_to_be_that():
    floats, static = draft_of("lenet", FLOAT32), draft_of("lenet", STATIC_W8A8)
    fault = blame.first_fault(static.content, floats.graph, nets.source("lenet").probes, INT8)
    assert fault == "a layer of the file (DEPTHWISE_CONV_2D) has weights of a size that no layer of the model has"


def test_a_model_without_weights_has_no_layer_at_fault():
    arguments = ModelArguments(12, 3, (8, 8))
    graph = fold(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()).eval(), arguments)
    content = tflite.convert_float(graph, arguments)
    found = blame.first_fault(content, graph, nets.images(2, (8, 8, 3)), InputSpec(8, 8, 3))
    assert found == "no layer has weights that could be at fault"


def test_the_reference_is_not_changed_by_looking():
    draft = draft_of("lenet", STATIC_W8A8)
    x = to_input(torch.from_numpy(nets.images(4)))
    before = draft.graph(x)
    first_fault(draft.content, draft)
    assert torch.equal(draft.graph(x), before)
