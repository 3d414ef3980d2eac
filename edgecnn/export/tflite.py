"""PyTorch graph to TFLite file, through litert-torch; no TensorFlow anywhere."""

from __future__ import annotations

from torch import fx

from edgecnn.errors import CheckFailedError
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.export.naming import flattened, rename
from edgecnn.export.quiet import captured
from edgecnn.models import ModelArguments
from edgecnn.quantize.graph import example, module_of
from edgecnn.quantize.simulate import Border, Mode, mode_of, weight_bits


def convert_float(graph_module: fx.GraphModule, arguments: ModelArguments) -> bytes:
    """A float32 TFLite file: input [n, height, width, channels], output [n, classes], any batch size n.

    Raises CheckFailedError, naming a log, if the converter fails, and for a model that computes what stands in a
    file for a border.
    """
    return _convert(graph_module, arguments, quantized=False)


def convert_quantized(graph_module: fx.GraphModule, arguments: ModelArguments) -> bytes:
    """An integer TFLite file with the grids of a calibrated QDQ graph, which is left in SIMULATE mode.

    Weights of 4 bits are stored as such.
    """
    with mode_of(graph_module, Mode.TFLITE):
        return _convert(graph_module, arguments, quantized=True)


def _convert(graph_module: fx.GraphModule, arguments: ModelArguments, quantized: bool) -> bytes:
    with captured("the TFLite conversion"):
        import litert_torch
        from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
        from litert_torch.quantize.quant_config import QuantConfig

        # The grids are in the graph already; the configuration only tells the converter to honour them.
        settings = get_symmetric_quantization_config(is_per_channel=True)
        config = QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(settings)) if quantized else None
        flat, names = flattened(graph_module)
        channels_last = litert_torch.to_channel_last_io(flat, args=[0]).eval()
        inputs = (example(arguments).permute(0, 2, 3, 1).contiguous(),)
        content = litert_torch.convert(channels_last, inputs, quant_config=config).model_content()
    graph = TFLiteGraph(content)
    borders = sum(isinstance(module_of(graph_module, node), Border) for node in graph_module.graph.nodes)
    if graph.operations()[Border.STAND_IN] > borders:
        raise CheckFailedError(
            f"the model computes {Border.STAND_IN.lower()}, which edgecnn lets no device run; put another function in "
            "its place"
        )
    graph.take_out(Border.STAND_IN)
    graph.make_batch_dynamic()
    rename(graph, names)
    graph.halve_weights([f"{name}.weight" for name, bits in weight_bits(graph_module).items() if bits == 4])
    return graph.to_bytes()
