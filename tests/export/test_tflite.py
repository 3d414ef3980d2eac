"""TFLite files of all models: integers from end to end, one partition, any batch, and PyTorch's answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.evaluate import predictor
from edgecnn.export import tflite
from edgecnn.export.blame import layer_names
from edgecnn.export.drafts import Order, make
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.internals import partitions
from tests import nets

pytestmark = pytest.mark.usefixtures("stored_conversions")

MOVES = {"QUANTIZE", "DEQUANTIZE", "TRANSPOSE"}


def opened(folder, content):
    path = folder / "file.tflite"
    path.write_bytes(content)
    return open_artifact(path)


@pytest.mark.parametrize("model", nets.MODELS)
def test_the_int8_file_of_a_model(model, tmp_path):
    source = nets.source(model)
    draft = make(Order("tflite", STATIC_W8A8), source)
    graph = TFLiteGraph(draft.content)

    assert not MOVES & set(graph.operations())
    assert partitions(draft.content) == (1, [])
    layers = list(graph.layers())
    assert len(layers) >= 5
    for layer in layers:
        assert (
            len(layer.bias_scale)
            == len(layer.weight_scale)
            == layer.weight.shape[3 if layer.operation == "DEPTHWISE_CONV_2D" else 0]
        )
        assert layer.bias_scale_error() < 1e-5
        assert layer.weight.dtype == np.int8

    pictures = source.probes
    with opened(tmp_path, draft.content) as runner:
        assert (runner.input.dtype, runner.input.scale, runner.input.zero_point) == ("int8", 1 / 64, 0)
        assert runner.output.dtype == "int8"
        together = predict(runner, pictures[:32])
        for size in (1, 4):
            pieces = [predict(runner, pictures[start : start + size]) for start in range(0, 32, size)]
            assert np.array_equal(np.concatenate(pieces), together)
        logits = predict(runner, pictures)
    assert np.array_equal(logits[:32], together)
    assert np.mean(logits.argmax(1) == draft.reference(pictures).argmax(1)) >= 0.97


@pytest.mark.parametrize("model", nets.MODELS)
def test_the_float_file_of_a_model(model, tmp_path):
    source = nets.source(model)
    draft = make(Order("tflite", FLOAT32), source)
    assert not MOVES & set(TFLiteGraph(draft.content).operations())
    assert partitions(draft.content) == (1, [])
    pictures = source.probes[:64]
    with opened(tmp_path, draft.content) as runner:
        assert (runner.input.dtype, runner.output.dtype) == ("float32", "float32")
        logits = predict(runner, pictures)
        for size in (1, 4):
            assert np.abs(predict(runner, pictures[:size]) - logits[:size]).max() <= 1e-5
    assert np.abs(logits - predictor(source.model)(pictures)).max() <= 1e-4
    static = make(Order("tflite", STATIC_W8A8), source)
    assert len(static.content) <= 0.32 * len(draft.content)


def test_without_flatten_order_there_is_a_transpose():
    """The pass earns its place; and it is off when it is off."""
    torch.manual_seed(8)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)).eval()
    arguments = ModelArguments(10, 3, (8, 8))
    content = tflite.convert_float(fold(net), arguments)
    assert TFLiteGraph(content).operations()["TRANSPOSE"] == 1


def test_a_handwritten_model_is_as_good(tmp_path):
    """Shared modules, functions and methods; and channels that training has switched off but for their biases."""
    net = nets.handwritten()
    for name in ("conv1", "conv2"):
        nets.switch_off(net.get_submodule(name))
    pictures = nets.images(200)
    graph_module = ptq.calibrate(net, ModelArguments(), [pictures], passes.PASSES)
    content = tflite.convert_quantized(graph_module, ModelArguments())
    graph = TFLiteGraph(content)
    assert not MOVES & set(graph.operations())
    assert partitions(content) == (1, [])
    names = layer_names(content, graph_module)
    assert sorted(names) == ["conv1", "conv2", "conv3", "fc1", "fc2", "pool", "pool_1_again", "pool_2_again"]
    expected = predictor(graph_module)(pictures)
    with opened(tmp_path, content) as runner:
        logits = predict(runner, pictures)
        step = runner.output.scale
    assert np.abs(logits - expected).max() <= 6 * step
    assert np.mean(np.abs(logits - expected)) <= step
