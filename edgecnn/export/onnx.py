"""PyTorch graph to ONNX file, through torch.onnx's dynamo exporter."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edgecnn.export.quiet import captured
from edgecnn.models import ModelArguments
from edgecnn.quantize.graph import example
from edgecnn.quantize.simulate import Mode, mode_of


def convert_float(graph_module: fx.GraphModule, arguments: ModelArguments) -> bytes:
    """A float32 ONNX file: input [n, channels, height, width], output [n, classes], any batch size n.

    Raises CheckFailedError, naming a log, if the exporter fails.
    """
    return _convert(graph_module, arguments)


def convert_quantized(graph_module: fx.GraphModule, arguments: ModelArguments) -> bytes:
    """The QDQ graph as ONNX with float input and output; the graph is left in SIMULATE mode.

    ONNX Runtime turns every layer here into one of its QLinear kernels.
    """
    with mode_of(graph_module, Mode.ONNX):
        return _convert(graph_module, arguments)


def _forget_where(proto: Any) -> None:
    """Take out what the exporter notes on each node and value: stack traces, with the paths of this machine."""
    graph = proto.graph
    for noted in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")


def _convert(graph_module: fx.GraphModule, arguments: ModelArguments) -> bytes:
    with captured("the ONNX export"):
        # Two images, since the exporter takes a batch of one for a constant.
        program = torch.onnx.export(
            graph_module,
            (example(arguments, 2),),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        assert program is not None
        proto = program.model_proto
        _forget_where(proto)
        return proto.SerializeToString()
