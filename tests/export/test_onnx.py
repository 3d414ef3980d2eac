"""ONNX, float and int8."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime

from edgecnn.export.drafts import Order
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from tests import nets


def test_float_and_int8_files(tmp_path):
    source = nets.source("depthwise")
    orders = [Order("onnx", FLOAT32), Order("onnx", STATIC_W8A8)]
    floats, static = nets.judged(orders, source, tmp_path)
    assert (floats.failure, static.failure) == (None, None)
    assert floats.artifact.gate["max_logit_difference"] <= 1e-4
    assert static.artifact.gate["agreement"] >= 0.97
    assert static.artifact.bytes <= 0.45 * floats.artifact.bytes
    assert {path.name for path in tmp_path.iterdir()} == {floats.file, static.file}  # no .onnx.data beside them
    for each in (floats, static):
        assert not nets.places_in(tmp_path / each.file)
        onnx.checker.check_model(str(tmp_path / each.file))
        with open_artifact(tmp_path / each.file) as runner:
            logits = predict(runner, source.probes[:32])
            for size in (1, 4):
                pieces = [predict(runner, source.probes[start : start + size]) for start in range(0, 32, size)]
                assert np.abs(np.concatenate(pieces) - logits).max() <= 1e-5

    # Kernels for weights of int8 saturate on x86 without VNNI: mod_cnn's accuracy fell from 83 % to 67.
    graph = onnx.load(tmp_path / static.file).graph
    stored = {each.name: each.data_type for each in graph.initializer}
    layers = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]
    assert len(layers) == 8 + 3
    assert {stored[node.input[0]] for node in layers} == {onnx.TensorProto.UINT8}

    # What ONNX Runtime makes of the int8 file: integer kernels for every layer.
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(tmp_path / static.file), options, providers=["CPUExecutionProvider"])
    kernels = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kernels["QLinearConv"] == 8
    assert kernels["QGemm"] + kernels["QLinearMatMul"] + kernels["MatMulIntegerToFloat"] == 3
    assert not {"Conv", "Gemm", "MatMul", "BatchNormalization", "Relu"} & set(kernels)
