"""What training under quantization found is in the file: weights and grids to the bit, and the classes it chooses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgecnn.evaluate import predictor
from edgecnn.export import judge as judging
from edgecnn.export.blame import layer_names
from edgecnn.export.drafts import Order, make
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.export.source import Source
from edgecnn.measure.stats import agreement
from edgecnn.quantize import passes, qat
from edgecnn.quantize.graph import module_of
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, parse
from edgecnn.quantize.simulate import ActivationQuantizer, QuantizedConv2d, QuantizedLinear
from tests import nets

pytestmark = pytest.mark.usefixtures("stored_conversions")

TFLITE = Order("tflite", STATIC_W8A8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """LeNet on the digits, trained on for two epochs, with a learning rate that is felt."""
    plain = nets.source("lenet")
    recipe = qat.settings(plain.header, epochs=2, learning_rate=0.05, batch_size=128)
    folder = tmp_path_factory.mktemp("qat")
    images = plain.calibration_batches()
    rewrites = passes.defaults(STATIC_W8A8)
    trained = qat.train(plain.model, plain.header, plain.dataset, images, recipe, folder, rewrites=rewrites)
    return dataclasses.replace(plain, trained=trained)


def test_the_file_has_exactly_the_trained_weights_and_grids(source):
    draft = make(TFLITE, source)
    graph = draft.graph
    assert graph is not None
    nodes = {node.target: node for node in graph.graph.nodes}
    names = layer_names(draft.content, graph)
    assert sorted(names) == ["conv1", "conv2", "fc1", "fc2", "fc3", "pool1", "pool2"]
    for name, layer in zip(names, TFLiteGraph(draft.content).layers(), strict=True):
        module = graph.get_submodule(name)
        assert isinstance(module, QuantizedConv2d | QuantizedLinear)
        scales = module.weight_scales()
        assert layer.weight_scale.astype(np.float32).tolist() == scales.tolist()
        steps = module.weight.detach() / scales.view(-1, *[1] * (module.weight.dim() - 1))
        stored, wanted = (np.sort(each, axis=None) for each in (layer.weight, steps.round().numpy()))
        halves = int(((steps - steps.floor()) - 0.5).abs().less(1e-5).sum())  # which the converter may round up
        assert np.abs(stored - wanted).sum() <= halves
        before = module_of(graph, nodes[name].args[0])
        assert isinstance(before, ActivationQuantizer)
        assert layer.input_scale.tolist() == [before.affine().scale]
        assert layer.bias_scale_error() < 1e-6
        if name == "fc2":  # whose bias no rewrite touches
            kept = source.trained.tensors["fc2.bias"].numpy() / (layer.input_scale * layer.weight_scale)
            assert np.abs(layer.bias - kept).max() <= 0.501
    assert graph.get_parameter("conv2.weight").equal(source.trained.tensors["conv2.weight"])  # no rewrite touches this
    assert TFLiteGraph(draft.content).operations()["QUANTIZE"] == 0


def test_the_file_chooses_what_the_trained_simulation_chooses(source, tmp_path):
    (result,) = nets.judged([TFLITE], source, tmp_path)
    assert result.failure is None
    assert result.artifact.gate["agreement"] >= 0.985
    pictures = source.dataset.test.take(np.arange(450))[0]
    simulated = predictor(source.trained.graph(source.model, source.trained.rewrites))(pictures).argmax(1)
    assert agreement(result.score.predictions, simulated) >= 0.985


def test_the_gate_is_narrower_for_what_was_trained(source, tmp_path, monkeypatch):
    def changed(order, asked):
        draft = make(order, asked)

        def reference(images):
            logits = draft.reference(images)
            logits[::40] *= -1
            return logits

        return dataclasses.replace(draft, reference=reference)

    monkeypatch.setattr(judging, "make", changed)
    (calibrated,) = nets.judged([TFLITE], nets.source("lenet"), tmp_path)
    assert calibrated.failure is None
    (trained,) = nets.judged([TFLITE], source, tmp_path)
    assert "of 1000 images (at least 97.75 %)" in trained.failure


def test_float_files_have_the_float_weights_and_other_formats_the_trained_ones(source):
    pictures = source.dataset.test.take(np.arange(50))[0]
    logits = predictor(source.model)(pictures)
    for name in ("tflite", "torchscript", "onnx"):
        assert np.array_equal(make(Order(name, FLOAT32), source).reference(pictures), logits)
    trained = source.trained.float_graph(source.model)
    script = make(Order("torchscript", STATIC_W8A8), source).reference(pictures)
    assert np.abs(script - predictor(trained)(pictures)).max() < np.abs(script - logits).max()
    onnx = make(Order("onnx", STATIC_W8A8), source).reference(pictures)
    simulated = predictor(source.trained.graph(source.model, source.trained.lasting_rewrites))(pictures)
    assert np.array_equal(onnx, simulated)


def test_other_recipes_take_the_float_weights(source):
    order = Order("tflite", parse("weight_w8"))
    assert make(order, source).content == make(order, nets.source("lenet")).content


def test_rewrites_are_those_it_was_trained_for_unless_others_that_fit_are_chosen(source):
    assert make(TFLITE, source).rewrites == passes.defaults(STATIC_W8A8)
    chosen = ("pool_as_conv", "merge_separable")
    assert make(dataclasses.replace(TFLITE, rewrites=chosen), source).rewrites == chosen


def test_the_manifest_says_how_it_was_trained(source):
    assert nets.source("lenet").qat is None
    found = source.qat
    assert found is not None
    assert (found.epochs, found.learning_rate, found.batch_size, found.seed) == (2, 0.05, 128, 0)
    assert len(found.float_weights) == 64
    assert Path(source.trained.source).name == "weights.safetensors"
