"""A file whose integers are not those of its graph is refused, however few of its answers change."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.errors import CheckFailedError
from edgecnn.export.drafts import Order, make
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.export.integers import check_values
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8
from tests import nets

pytestmark = pytest.mark.usefixtures("stored_conversions")


@pytest.fixture(scope="module", params=["lenet", "mod_cnn", "depthwise", "depth_res"])
def draft(request):
    return make(Order("tflite", STATIC_W8A8), nets.source(request.param))


def changed(content, place, what):
    """The file after ``what`` has changed the values of input ``place`` of its second layer of several filters."""
    graph = TFLiteGraph(content)
    named = zip(graph.names, graph.subgraph.operators, strict=True)
    operation = [each for name, each in named if name in ("CONV_2D", "FULLY_CONNECTED")][1]
    tensor = graph.subgraph.tensors[operation.inputs[place]]
    buffer = graph.model.buffers[tensor.buffer]
    values = np.frombuffer(bytes(buffer.data), np.int8 if place == 1 else np.int32).copy()
    what(values, int(tensor.shape[0]))
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return graph.to_bytes()


def no_filter(values, filters):
    values[: len(values) // filters] = 0


def one_step(values, filters):
    values[int(np.abs(values.astype(int)).argmin())] += 2


def no_bias(values, filters):
    values[int(np.abs(values).argmax())] = 0


def test_every_layer_of_a_sound_file_is_its_graph_s(draft):
    layers = [layer for layer in TFLiteGraph(draft.content).layers() if layer.weight.dtype == np.int8]
    assert check_values("x", draft.content, draft.graph) == {"exact_layers": len(layers)}


def test_so_is_one_of_4_bits():
    draft = make(Order("tflite", STATIC_W4A8), nets.source("lenet"))
    assert draft.graph is not None
    layers = list(TFLiteGraph(draft.content).layers())
    assert check_values("x", draft.content, draft.graph) == {"exact_layers": len(layers)}


@pytest.mark.parametrize(
    ("place", "what", "reason"),
    [(1, no_filter, "weights"), (1, one_step, "weights"), (2, no_bias, "biases")],
    ids=["filter", "step", "bias"],
)
def test_a_lost_filter_a_weight_or_a_bias_is_found(draft, place, what, reason):
    bad = changed(draft.content, place, what)
    with pytest.raises(CheckFailedError, match=rf"^x: {reason} of layer \w+.* are not those of the model's graph"):
        check_values("x", bad, draft.graph)
