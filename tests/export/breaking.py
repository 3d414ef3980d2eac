"""Ways to break a TFLite file that the gate must notice."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecnn.export.flatbuffer import LAYER_OPERATIONS, TFLiteGraph

DTYPES = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT8: np.int8}


def _operand(graph: TFLiteGraph, position: int, operand: int) -> schema.TensorT:
    """Weight (1) or bias (2) of the layer at a position in the order of execution."""
    layers = [
        operation
        for name, operation in zip(graph.names, graph.subgraph.operators, strict=True)
        if name in LAYER_OPERATIONS
    ]
    return graph.subgraph.tensors[layers[position].inputs[operand]]


def with_bias_scale(content: bytes, position: int, factor: float) -> bytes:
    """One layer's bias scales, all channels, multiplied."""
    graph = TFLiteGraph(content)
    quantization = _operand(graph, position, 2).quantization
    quantization.scale = [scale * factor for scale in quantization.scale]
    return graph.to_bytes()


def with_weights(content: bytes, position: int, change) -> bytes:
    """One layer's stored weights, flat, replaced by ``change(weights)``."""
    graph = TFLiteGraph(content)
    tensor = _operand(graph, position, 1)
    buffer = graph.model.buffers[tensor.buffer]
    changed = change(np.frombuffer(bytes(buffer.data), DTYPES[tensor.type]).copy())
    buffer.data = np.frombuffer(changed.tobytes(), np.uint8)
    return graph.to_bytes()


def scrambled(weights: np.ndarray) -> np.ndarray:
    """The same values in another order."""
    return np.random.default_rng(0).permutation(weights)


def replaced(weights: np.ndarray) -> np.ndarray:
    """Other values."""
    values = np.random.default_rng(0).normal(0, 1, weights.shape)
    if weights.dtype == np.int8:
        return np.clip(np.rint(40 * values), -127, 127).astype(np.int8)
    return (values * np.abs(weights).max()).astype(weights.dtype)
