"""Reading and mending TFLite files."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecnn.errors import CheckFailedError
from edgecnn.export.flatbuffer import TFLiteGraph, pack, unpack
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.internals import constants
from edgecnn.runtime.tflite_file import read
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


def test_a_shape_whose_bytes_are_another_tensors_too_is_changed_for_its_reshape_alone(tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), batch=1)
    graph = TFLiteGraph(path.read_bytes())
    index = graph.subgraph.operators[0].inputs[1]
    twin = copy.copy(graph.subgraph.tensors[index])
    twin.name = b"twin"
    graph.subgraph.tensors.append(twin)
    graph.make_batch_dynamic()
    changed = TFLiteGraph(graph.to_bytes())
    own, other = (
        np.frombuffer(bytes(changed.model.buffers[changed.subgraph.tensors[place].buffer].data), np.int32).tolist()
        for place in (index, -1)
    )
    assert own[0] == -1
    assert other == [1, *own[1:]]


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


@pytest.mark.parametrize("size", [(3, 4), (3, 5), (1, 1)])
def test_4_bit_values_survive_packing(size):
    values = np.random.default_rng(0).integers(-8, 8, size).astype(np.int8)
    values.flat[:2] = (-8, 7)[: values.size]
    packed = pack(values)
    assert (packed.dtype, len(packed)) == (np.uint8, -(-values.size // 2))
    assert packed[0] & 15 == 8  # -8: the first is in the lower half
    assert np.array_equal(unpack(packed, size), values)


def test_weights_of_4_bits_take_half_the_bytes_and_compute_the_same(tmp_path):
    matrix = np.clip(tiny_artifacts.weights(), -7, 7)
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", matrix, quantized=True)
    wide = path.read_bytes()
    pictures = tiny_artifacts.images(7)
    with open_artifact(path) as runner:
        expected = predict(runner, pictures)
    graph = TFLiteGraph(wide)
    graph.halve_weights(["weights"])
    narrow = graph.to_bytes()
    assert len(TFLiteGraph(wide).to_bytes()) - len(narrow) >= matrix.size // 2 - 16  # a buffer's alignment
    (layer,) = TFLiteGraph(narrow).layers()
    assert layer.weight.dtype == np.int8
    assert np.array_equal(layer.weight, matrix)
    path.write_bytes(narrow)
    with open_artifact(path) as runner:
        assert np.abs(predict(runner, pictures) - expected).max() <= tiny_artifacts.OUTPUT_SCALE
    assert np.array_equal(constants(narrow, [1])[1], matrix)
    (stored,) = [tensor for tensor in read(narrow).tensors if tensor.name == "weights"]
    assert (stored.dtype, stored.bytes) == ("int4", -(-matrix.size // 2))


def test_what_cannot_be_stored_in_4_bits_is_refused(tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=True)
    graph = TFLiteGraph(path.read_bytes())
    with pytest.raises(CheckFailedError, match="the values of 'weights' in the converted file do not fit into 4 bits"):
        graph.halve_weights(["weights"])
    with pytest.raises(CheckFailedError, match="has no tensor 'conv9.weight' to store in 4 bits"):
        graph.halve_weights(["conv9.weight"])
    assert graph.to_bytes() == TFLiteGraph(path.read_bytes()).to_bytes()


def test_a_buffer_that_another_tensor_shares_stays(tmp_path):
    matrix = np.clip(tiny_artifacts.weights(), -7, 7)
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", matrix, quantized=True)
    graph = TFLiteGraph(path.read_bytes())
    (weights,) = [tensor for tensor in graph.subgraph.tensors if tensor.name == b"weights"]
    twin = copy.copy(weights)
    twin.name = b"twin"
    graph.subgraph.tensors.append(twin)
    graph.halve_weights(["weights"])
    assert bytes(graph.model.buffers[twin.buffer].data) == matrix.tobytes()


def test_a_float_file_has_no_scales(tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())
    (layer,) = TFLiteGraph(path.read_bytes()).layers()
    assert len(layer.input_scale) == len(layer.weight_scale) == len(layer.bias_scale) == 0
    assert layer.bias_scale_error() == 0
    assert layer.weight.dtype == np.float32


def test_equal_vectors_are_stored_once(tmp_path):
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=True)
    graph = TFLiteGraph(path.read_bytes())
    before = len(graph.to_bytes())
    for tensor in graph.subgraph.tensors[:3]:
        tensor.quantization.zeroPoint = np.zeros(1000, np.int64)
    content = graph.to_bytes()
    assert 8000 <= len(content) - before < 8200, "of three vectors of 8,000 bytes"
    zeros = [tensor.quantization.zeroPoint for tensor in TFLiteGraph(content).subgraph.tensors[:3]]
    assert all(np.array_equal(each, np.zeros(1000)) for each in zeros)


def test_vectors_of_equal_bytes_and_other_types_are_not_one(tmp_path):
    """int64 has to lie on addresses that can be divided by 8; the weights' bytes need not."""
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights(), quantized=True)
    graph = TFLiteGraph(path.read_bytes())
    graph.model.buffers[1].data = np.zeros(8 * 144, np.uint8)
    graph.subgraph.tensors[0].quantization.zeroPoint = np.zeros(144, np.int64)
    content = graph.to_bytes()
    tensor = schema.Model.GetRootAs(content, 0).Subgraphs(0).Tensors(0)
    where = tensor.Quantization()._tab
    assert len(content) > 2 * 8 * 144
    assert where.Vector(where.Offset(10)) % 8 == 0
