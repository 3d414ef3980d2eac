"""What is ordered, and what each order is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.evaluate import predictor
from edgecnn.export import converted, onnx, tflite
from edgecnn.export.drafts import Order, make, orders
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.passes.columns import GroupColumns
from edgecnn.quantize.recipe import FLOAT32, QUANTIZED, STATIC_W4A8, STATIC_W8A8, parse
from edgecnn.quantize.simulate import Mode, set_mode
from tests import nets

ALL = ["tflite", "torchscript", "onnx"]


def listed(*words):
    return [(order.format, order.recipe.name) for order in orders(*words)]


def test_static_w8a8_is_made_in_every_format_and_float_before_it():
    expected = [(name, recipe) for name in ALL for recipe in ("float32", "static_w8a8")]
    assert listed(reversed([*ALL, "onnx"]), STATIC_W8A8, None, "qnnpack") == expected
    assert listed(["onnx"], STATIC_W8A8, None, "qnnpack") == [("onnx", "float32"), ("onnx", "static_w8a8")]
    assert listed(ALL, FLOAT32, None, "qnnpack") == [(name, "float32") for name in ALL]


@pytest.mark.parametrize("recipe", QUANTIZED[1:], ids=lambda recipe: recipe.name)
def test_other_recipes_exist_only_as_tflite(recipe):
    assert listed(ALL, recipe, None, "qnnpack")[:2] == [("tflite", "float32"), ("tflite", recipe.name)]
    assert len(listed(ALL, recipe, None, "qnnpack")) == 4
    with pytest.raises(UsageError, match=f"recipe {recipe.name} exists only as tflite.*; add tflite") as error:
        orders(["onnx", "torchscript"], recipe, None, "qnnpack")
    reason = ": ONNX Runtime computes layers of 4-bit weights in float, and TorchScript has no such layers;"
    assert (reason in str(error.value)) == (recipe is STATIC_W4A8)


def test_file_names_have_the_whole_recipe():
    assert Order("onnx", parse("static_w8a8")).file("my_net") == "my_net_static_w8a8.onnx"
    assert Order("torchscript", FLOAT32).file("lenet") == "lenet_float32.torchscript"


@pytest.mark.parametrize(
    ("formats", "rewrites", "engine", "message"),
    [
        (["tflight"], None, "qnnpack", "unknown format 'tflight'; did you mean 'tflite'?"),
        (["onnx", "tfl"], None, "qnnpack", "unknown format 'tfl'"),
        (["tflite"], ("pool_as_con",), "qnnpack", "unknown pass 'pool_as_con'; did you mean 'pool_as_conv'?"),
        (["tflite"], None, "qnnpak", "unknown quantized engine 'qnnpak'; did you mean 'qnnpack'?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(formats, rewrites, engine, message):
    with pytest.raises(UnknownNameError) as error:
        orders(formats, STATIC_W8A8, rewrites, engine)
    assert str(error.value).startswith(message)


def test_no_format_at_all_is_refused():
    with pytest.raises(UsageError, match="no format was asked for; give one or more of tflite, torchscript, onnx"):
        orders([], STATIC_W8A8, None, "qnnpack")


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that the converters were given, in place of a conversion."""
    seen = []

    def convert(graph_module, arguments):
        seen.append(graph_module)
        return b"file"

    for name in ("convert_float", "convert_quantized"):
        monkeypatch.setattr(tflite, name, convert)
    monkeypatch.setattr(converted, "convert", lambda content, recipe, images: b"file")
    return seen


@pytest.mark.parametrize("recipe", [*QUANTIZED, FLOAT32], ids=lambda recipe: recipe.name)
def test_passes_are_the_defaults_unless_chosen(recipe, graphs):
    source = nets.source("lenet")
    assert make(Order("tflite", recipe), source).rewrites == passes.defaults(recipe)
    assert make(Order("tflite", recipe, ("pair_columns",)), source).rewrites == ("pair_columns",)
    assert make(Order("tflite", recipe, ()), source).rewrites == ()
    default, chosen, none = ({type(part) for part in each.modules()} for each in graphs)
    assert (GroupColumns in default) == ("pair_columns" in passes.defaults(recipe))
    assert GroupColumns in chosen
    assert GroupColumns not in none


def test_other_formats_take_the_plain_graph():
    source = nets.source("depthwise")
    draft = make(Order("torchscript", FLOAT32, tuple(passes.PASSES)), source)
    assert draft.rewrites == ()


def test_every_file_of_an_equalized_order_has_equalized_weights(graphs, monkeypatch):
    monkeypatch.setattr(onnx, "convert_quantized", lambda graph_module, arguments: graphs.append(graph_module) or b"")
    source = nets.source("depthwise")
    passed = passes.apply(fold(source.model), [passes.EQUALIZE], source.arguments).get_parameter("fc2.weight")
    for order in (Order("tflite", FLOAT32), Order("tflite", STATIC_W8A8), Order("onnx", STATIC_W8A8)):
        draft = make(order.equalized(), source)
        assert draft.rewrites == (passes.EQUALIZE, *(passes.defaults(order.recipe) if order.format == "tflite" else ()))
        assert make(order, source).rewrites == draft.rewrites[1:]
        equal, plain = (each.get_parameter("fc2.weight") for each in graphs[-2:])
        assert torch.equal(equal, passed)
        assert not torch.equal(plain, passed)
    chosen = Order("tflite", STATIC_W8A8, ("pair_columns", passes.EQUALIZE)).equalized()
    assert chosen.rewrites == (passes.EQUALIZE, "pair_columns")


def test_onnx_is_held_against_averages_rounded_as_its_runtime_rounds_them(monkeypatch):
    monkeypatch.setattr(onnx, "convert_quantized", lambda graph_module, arguments: b"file")
    source = nets.source("lenet")
    pictures = source.dataset.test.take(np.arange(50))[0]
    logits = make(Order("onnx", STATIC_W8A8), source).reference(pictures)
    graph = ptq.calibrate(source.model, source.arguments, source.calibration_batches(), ())
    assert not np.array_equal(logits, predictor(graph)(pictures))
    set_mode(graph, Mode.ONNX)
    assert np.array_equal(logits, predictor(graph)(pictures))
