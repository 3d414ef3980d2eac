"""The names in a TFLite file are those of the model's modules, whole."""

from __future__ import annotations

import pytest

from edgecnn.export import naming, tflite
from edgecnn.export.drafts import Order, make
from edgecnn.measure.anatomy import module
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, parse
from edgecnn.runtime.tflite_file import read
from tests import nets

RESNET8 = [
    "conv0", "res1.conv1", "res1.conv2", "res1.add", "res2.conv1", "res2.conv1", "res2.conv2", "res2.shortcut",
    "res2.add", "res3.conv1", "res3.conv1", "res3.conv2", "res3.shortcut", "res3.add", "pool", "fc",
]  # fmt: skip


@pytest.mark.usefixtures("stored_conversions")
@pytest.mark.parametrize("recipe", [FLOAT32, STATIC_W8A8], ids=lambda recipe: recipe.name)
def test_every_operation_has_the_whole_name_of_its_module(recipe) -> None:
    file = read(make(Order("tflite", recipe), nets.source("resnet8")).content)
    assert [module(file, each) for each in file.operations] == RESNET8
    names = [each.name for each in file.tensors]
    assert len(names) == len(set(names))
    assert file.tensors[file.inputs[0]].name == "serving_default_args_0"
    assert file.tensors[file.outputs[0]].name == "serving_default_output_0_output"
    assert not any("named" in name or "ChannelLastIOWrapper" in name for name in names)


@pytest.mark.usefixtures("stored_conversions")
@pytest.mark.parametrize("recipe", ["static_w8a16", "dynamic_w8", "weight_w8", "float16"])
def test_files_made_of_the_float_file_keep_its_names(recipe) -> None:
    file = read(make(Order("tflite", parse(recipe)), nets.source("lenet")).content)
    found = {module(file, each) for each in file.operations}
    assert {"conv1", "tanh1", "pool1", "conv2", "tanh2", "pool2", "fc1", "fc2", "fc3"} <= found


def test_names_make_a_file_smaller_and_change_nothing_else(monkeypatch) -> None:
    source = nets.source("lenet")
    graph = fold(source.model)
    named = read(tflite.convert_float(graph, source.arguments))
    monkeypatch.setattr(tflite, "rename", lambda graph, names: None)
    plain = read(tflite.convert_float(graph, source.arguments))
    assert len(named.content) < len(plain.content)
    assert [each.name for each in named.operations] == [each.name for each in plain.operations]


def test_a_graph_of_flat_names_computes_the_same() -> None:
    graph = fold(nets.handwritten())
    flat, names = naming.flattened(graph)
    x = nets.inputs(2, 3, 32, 32)
    nets.assert_close(flat(x), graph(x), 0)
    assert {"conv1", "pool", "relu", "flatten", "add", "fc2"} <= set(names)
