"""Layers that stay float32 in files of static_w8a8: the right ones, and the gate sees it when they do not."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgecnn.errors import CheckFailedError, UnknownNameError
from edgecnn.evaluate import predictor
from edgecnn.export import judge as judging
from edgecnn.export import parity, tflite, torchscript
from edgecnn.export.blame import layer_names
from edgecnn.export.drafts import Order, make
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.qdq import borders_of
from edgecnn.quantize.recipe import STATIC_W8A8
from edgecnn.quantize.simulate import Border
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.internals import partitions
from tests import nets

pytestmark = [
    pytest.mark.usefixtures("stored_conversions"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*"),
]

# Model, layers asked for, layers of the file that are float, and how often it must quantize and dequantize.
CASES = [
    ("lenet", ("conv2",), {"conv2", "pool2"}, 1, 1),
    ("lenet", ("conv1", "conv2"), {"conv1", "pool1", "conv2", "pool2"}, 1, 1),
    ("lenet", ("fc3",), {"fc3"}, 0, 1),
    ("depthwise", ("conv1.depth", "conv3.point"), {"conv1.point", "pool1", "conv3.point"}, 2, 2),
    ("resnet8", ("conv0", "res2.conv2", "res2.shortcut"), {"conv0", "res2.conv2", "res2.shortcut"}, 2, 3),
    ("depth_res", ("res2.conv2",), {"res2.conv2"}, 1, 1),
]


IDS = [f"{model} {'+'.join(asked)}" for model, asked, *_ in CASES]


def static(*names: str) -> Order:
    return Order("tflite", STATIC_W8A8, float_layers=names)


@pytest.mark.parametrize(("model", "asked", "floats", "quantized", "dequantized"), CASES, ids=IDS)
def test_a_tflite_file_holds_just_these_in_float(model, asked, floats, quantized, dequantized, tmp_path):
    source = nets.source(model)
    draft = make(static(*asked), source)
    graph = TFLiteGraph(draft.content)
    assert draft.graph is not None
    names = layer_names(draft.content, draft.graph)
    types = {name: layer.weight.dtype.name for name, layer in zip(names, graph.layers(), strict=True)}
    assert {name for name, kind in types.items() if kind == "float32"} == floats
    assert set(types.values()) == {"float32", "int8"}
    assert (graph.operations()["QUANTIZE"], graph.operations()["DEQUANTIZE"]) == (quantized, dequantized)
    assert set(asked) <= set(draft.float_layers)
    assert partitions(draft.content) == (1, [])
    path = tmp_path / "file.tflite"
    path.write_bytes(draft.content)
    with open_artifact(path) as runner:
        assert (runner.input.dtype, runner.input.scale) == ("int8", 1 / 64)
        assert runner.output.dtype == ("float32" if "fc3" in asked else "int8")
        logits = np.concatenate([predict(runner, source.probes[:n]) for n in (1, 300)])
    expected = draft.reference(np.concatenate([source.probes[:1], source.probes[:300]]))
    assert np.mean(logits.argmax(1) == expected.argmax(1)) >= 0.97


def test_nothing_is_left_of_what_stood_at_the_borders():
    graph = TFLiteGraph(make(static("conv2"), nets.source("lenet")).content)
    assert len(graph.model.operatorCodes) == len(set(graph.names)) > 5
    used = {int(index) for each in graph.subgraph.operators for index in (*each.inputs, *each.outputs)}
    assert used == set(range(len(graph.subgraph.tensors)))
    assert "COS" not in graph.names


def test_all_layers_in_float_give_the_float_logits(tmp_path):
    source = nets.source("lenet")
    (result,) = nets.judged([static("conv1", "conv2", "fc1", "fc2", "fc3")], source, tmp_path)
    with open_artifact(tmp_path / result.file) as runner:
        assert np.abs(predict(runner, source.probes[:50]) - predictor(source.model)(source.probes[:50])).max() <= 1e-4


def test_the_artifact_names_them_in_every_format(tmp_path):
    names = ("conv3.point", "conv1.depth")
    orders = [Order(format, STATIC_W8A8, float_layers=names) for format in ("tflite", "torchscript", "onnx")]
    results = nets.judged(orders, nets.source("depthwise"), tmp_path)
    assert [each.failure for each in results] == [None, None, None]
    found = [each.artifact.float_layers for each in results]
    # Depthwise and pointwise convolution on the image are one layer of the TFLite file.
    assert found == [("conv1.depth", "conv1.point", "conv3.point"), *[("conv1.depth", "conv3.point")] * 2]

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(tmp_path / results[2].file), options, providers=["CPUExecutionProvider"])
    kernels = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert (kernels["QLinearConv"], kernels["Conv"] + kernels["FusedConv"]) == (6, 2)

    script = str(torch.jit.load(str(tmp_path / results[1].file)).inlined_graph)
    assert script.count("aten::_convolution(") == 2
    assert script.count("quantized::conv2d") == 6


@pytest.mark.parametrize("names", [("conv1",), ("conv2",), ("conv3", "conv2"), ("fc1",)], ids=str)
def test_functions_and_sums_follow_their_layers(names, tmp_path):
    model, arguments, images = nets.handwritten(), ModelArguments(), nets.images(32)
    graph = ptq.calibrate(model, arguments, [images], passes.DEFAULTS[STATIC_W8A8.name], float_layers=names)
    content = tflite.convert_quantized(graph, arguments)
    path = tmp_path / "file.tflite"
    path.write_bytes(content)
    expected = predictor(graph)(images)
    with open_artifact(path) as runner:
        assert np.abs(predict(runner, images) - expected).max() <= 0.1 * np.abs(expected).max()
    script, _ = torchscript.quantize(fold(model), arguments, [images], torchscript.DEFAULT_ENGINE, names)
    kinds = [type(module).__module__ for name, module in script.named_modules() if name in names]
    assert kinds and not any("quantized" in kind for kind in kinds)


def test_a_name_of_no_layer_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown layer 'conv3.pont'; did you mean 'conv3.point'\?"):
        make(static("conv3.pont"), nets.source("depthwise"))
    with pytest.raises(UnknownNameError, match="unknown layer 'pool1'"):
        make(static("pool1"), nets.source("lenet"))


# ------------------------------------------------------------------------------------------------------ the gate


def test_weights_that_the_converter_quantized_on_its_own_are_refused(tmp_path, monkeypatch):
    monkeypatch.undo()  # no stored conversion: this one is not to be kept
    monkeypatch.setattr(Border, "forward", lambda self, x: x)
    (result,) = nets.judged([static("conv3.point")], nets.source("depthwise"), tmp_path)
    assert result.failure == (
        "depthwise_static_w8a8.tflite: the weights of layer conv3.point (CONV_2D) are int8, but were to be float32; "
        "the converter did not keep to the graph"
    )


def test_float_weights_that_nobody_asked_for_are_refused(tmp_path, monkeypatch):
    def changed(order, source):
        return dataclasses.replace(make(order, source), content=make(static("conv2"), source).content)

    monkeypatch.setattr(judging, "make", changed)
    (result,) = nets.judged([static()], nets.source("lenet"), tmp_path)
    assert "the weights of layer conv2 (CONV_2D) are float32, but were to be int8" in result.failure
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes", [{"quantized": 0}, {"quantized": 2}, {"dequantized": 0}, {"dequantized": 2}], ids=str
)
def test_another_number_of_crossings_is_refused(changes):
    draft = make(static("conv2"), nets.source("lenet"))
    assert draft.graph is not None
    names, borders = layer_names(draft.content, draft.graph).__getitem__, borders_of(draft.graph)
    assert (borders.floats, borders.quantized, borders.dequantized) == ({"conv2", "pool2"}, 1, 1)
    parity.check_integers("x.tflite", draft.content, names, borders, [])
    with pytest.raises(CheckFailedError, match=r"x\.tflite: 1 QUANTIZE and 1 DEQUANTIZE operations where the model's"):
        parity.check_integers("x.tflite", draft.content, names, dataclasses.replace(borders, **changes), [])
