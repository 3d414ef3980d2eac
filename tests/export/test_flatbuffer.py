"""Reading and mending TFLite files."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from tests import tiny_artifacts


@pytest.mark.parametrize("quantized", [False, True])
def test_a_fixed_batch_becomes_dynamic(quantized, tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=quantized, batch=1)
    pictures = tiny_artifacts.images(7)
    with open_artifact(path) as runner:
        one_by_one = predict(runner, pictures)
    before = TFLiteGraph(path.read_bytes())
    shape = before.subgraph.tensors[before.subgraph.operators[0].inputs[1]]
    assert before.model.buffers[shape.buffer].data is not None
    graph = TFLiteGraph(path.read_bytes())
    graph.make_batch_dynamic()
    path.write_bytes(graph.to_bytes())
    for tensor in TFLiteGraph(path.read_bytes()).subgraph.tensors:
        if tensor.name in (b"image", b"flat", b"logits"):
            assert tensor.shapeSignature[0] == -1
            assert list(tensor.shapeSignature[1:]) == list(tensor.shape[1:])
    with open_artifact(path) as runner:
        assert np.array_equal(predict(runner, pictures), one_by_one)
        assert np.array_equal(predict(runner, pictures[:1]), one_by_one[:1])
        assert np.array_equal(predict(runner, pictures[:4]), one_by_one[:4])


def test_a_shape_that_two_reshapes_share_is_left_alone(tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), batch=1)
    graph = TFLiteGraph(path.read_bytes())
    index = graph.subgraph.operators[0].inputs[1]
    shared = graph.subgraph.tensors[index].buffer
    kept = bytes(graph.model.buffers[shared].data)
    graph.make_batch_dynamic()
    assert bytes(graph.model.buffers[shared].data) == kept
    assert graph.subgraph.tensors[index].buffer != shared


def test_layers_and_operations(tmp_path):
    matrix = tiny_artifacts.weights()
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", matrix, quantized=True, batch=1)
    graph = TFLiteGraph(path.read_bytes())
    assert graph.operations() == {"RESHAPE": 1, "FULLY_CONNECTED": 1}
    (layer,) = graph.layers()
    assert (layer.operation, layer.output) == ("FULLY_CONNECTED", 3)
    assert np.array_equal(layer.weight, matrix)
    assert layer.weight_scale.tolist() == [tiny_artifacts.WEIGHT_SCALE]
    assert layer.input_scale.tolist() == [1 / 64]
    assert layer.bias_scale_error() == 0
    assert set(graph.activations().values()) == {"image", "logits", "flat"}


def test_a_wrong_bias_scale_is_measured(tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=True)
    graph = TFLiteGraph(path.read_bytes())
    (bias,) = [tensor for tensor in graph.subgraph.tensors if tensor.name == b"bias"]
    bias.quantization.scale = [bias.quantization.scale[0] * 1.5]
    (layer,) = TFLiteGraph(graph.to_bytes()).layers()
    assert layer.bias_scale_error() == pytest.approx(0.5)


def test_a_float_file_has_no_scales(tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    (layer,) = TFLiteGraph(path.read_bytes()).layers()
    assert len(layer.input_scale) == len(layer.weight_scale) == len(layer.bias_scale) == 0
    assert layer.bias_scale_error() == 0
    assert layer.weight.dtype == np.float32
