"""A static_w4a8 file: packed, judged, and understood by all that takes files apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgecnn.cli.main import main
from edgecnn.export.blame import layer_names
from edgecnn.export.drafts import Order, make
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.quantize.recipe import STATIC_W4A8
from edgecnn.quantize.simulate import QuantizedConv2d, QuantizedLinear, weight_bits
from edgecnn.runtime.tflite_file import read
from tests import nets

pytestmark = pytest.mark.usefixtures("stored_conversions")
NARROW = ["conv2", "fc1", "fc2"]


def test_the_file_has_the_simulated_weights_in_half_the_bytes():
    draft = make(Order("tflite", STATIC_W4A8), nets.source("lenet"))
    graph = draft.graph
    assert graph is not None
    assert [name for name, bits in weight_bits(graph).items() if bits == 4] == NARROW
    names = layer_names(draft.content, graph)
    assert sorted(names) == ["conv1", "conv2", "fc1", "fc2", "fc3", "pool1", "pool2"]
    for name, layer in zip(names, TFLiteGraph(draft.content).layers(), strict=True):
        module = graph.get_submodule(name)
        assert isinstance(module, QuantizedConv2d | QuantizedLinear)
        wanted = module.quantized_weight().detach().numpy()
        channels = 3 if layer.operation == "DEPTHWISE_CONV_2D" else 0
        real = np.moveaxis(layer.weight, channels, -1) * layer.weight_scale
        assert np.allclose(np.sort(real, axis=None), np.sort(wanted, axis=None), atol=1e-6)
        assert layer.bias_scale_error() < 1e-6
    stored = {each.name: (each.dtype, each.bytes) for each in read(draft.content).tensors}
    for name in NARROW:
        assert stored[f"{name}.weight"] == ("int4", -(-graph.get_parameter(f"{name}.weight").numel() // 2))
    assert stored["fc3.weight"][0] == "int8"
    assert len(draft.content) < 62_006  # bytes; less than one for each parameter


def test_a_bundle_is_judged_and_taken_apart(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    bundle = str(tmp_path / "bundle")
    words = ["--model", "lenet", "--data", "digits", "--recipe", "static_w4a8", "--format", "tflite", "--out", bundle]
    assert main(["quantize", *words, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["quantized"]["accuracy"] > 0.9
    assert document["quantized"]["gate"]["agreement"] >= 0.97
    assert "CONV_2D" in document["quantized"]["gate"]["ops_outside_xnnpack"]
    assert main(["debug", bundle, "--json"]) == 0
    layers = {each["name"]: each for each in json.loads(capfd.readouterr().out)["layers"]}
    assert {"conv1", *NARROW, "fc3"} <= set(layers)
    wide, narrow = (layers[name]["weight_db"] for name in ("fc3", "fc2"))
    assert 10 < narrow < 25 < 30 < wide
    assert main(["profile", f"{bundle}/lenet_static_w4a8.tflite", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["operations"]) >= len(layers)
