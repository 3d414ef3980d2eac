"""The recipes that start from a float file, each through the whole gate."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from edgecnn.errors import UsageError
from edgecnn.export import converted
from edgecnn.export.drafts import Order, make
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.export.judge import image_of, make_and_check, notes_of
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8, parse
from edgecnn.runtime.internals import tensor_values
from edgecnn.runtime.preprocess import normalize
from tests import nets

pytestmark = pytest.mark.usefixtures("stored_conversions")


@pytest.mark.parametrize(
    ("name", "share", "input", "weights", "activations"),
    [
        ("static_w8a16", 0.31, "int16", "int8", "int16"),
        ("dynamic_w8", 0.30, "float32", "int8", "float32"),
        ("weight_w8", 0.30, "float32", "int8", "float32"),
        ("float16", 0.53, "float32", "float16", "float32"),
    ],
)
def test_a_recipe_is_what_its_name_says_and_passes_the_gate(name, share, input, weights, activations, tmp_path):
    recipe = parse(name)
    orders = [Order("tflite", FLOAT32), Order("tflite", recipe)]
    floats, result = nets.judged(orders, nets.source("lenet"), tmp_path)
    assert result.failure is None
    assert result.file == f"lenet_{name}.tflite"
    assert result.artifact.recipe == name
    assert result.artifact.gate["agreement"] >= 0.97
    assert abs(result.score.accuracy - floats.score.accuracy) <= 0.01
    assert result.artifact.bytes <= share * floats.artifact.bytes
    assert (result.artifact.input.dtype, result.artifact.output.dtype) == (input, activations)
    layers = list(TFLiteGraph((tmp_path / result.file).read_bytes()).layers())
    assert [str(layer.weight.dtype) for layer in layers] == [weights] * 5
    if recipe.calibrated:
        assert all(layer.bias_scale_error() < 1e-5 for layer in layers)


def test_calibrated_ranges_hold_all_that_was_seen():
    source = nets.source("lenet")
    content = make(Order("tflite", FLOAT32), source).content
    pictures = source.probes[:100]
    graph = TFLiteGraph(converted.convert(content, parse("static_w8a16"), [pictures[:30], pictures[30:]]))
    floats = TFLiteGraph(content)
    seen = tensor_values(content, normalize(pictures), [layer.output for layer in floats.layers()])
    for layer, low_precision in zip(floats.layers(), graph.layers(), strict=True):
        largest = max(abs(float(seen[layer.output].min())), abs(float(seen[layer.output].max())))
        scale = float(graph.subgraph.tensors[low_precision.output].quantization.scale[0])
        assert 32767 * scale >= largest * 0.999


def test_our_own_recipe_does_not_start_from_a_float_file():
    with pytest.raises(UsageError, match="recipe static_w8a8 does not start from a float file"):
        converted.convert(b"", STATIC_W8A8, [])


def test_what_static_w8a16_computes_in_float_is_told(tmp_path):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2), nn.Hardswish(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    source = nets.source("lenet")
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 10)).eval()
    order = Order("tflite", parse("static_w8a16"))
    made = replace(source, model=model)
    draft, artifact = make_and_check(order, "x.tflite", made, tmp_path, image_of(made))
    assert (artifact.gate["float_operations"], artifact.gate["float_ops"]) == ("HARD_SWISH", 1)
    assert notes_of(draft, artifact) == {"float operations, which have no integer kernel: HARD_SWISH"}
