"""PyTorch graph to TorchScript file, float or int8.

TorchScript is deprecated in favour of torch.export but still what a C++ program on a workstation can load today.
"""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from edgecnn.data.augment import to_input
from edgecnn.errors import UnknownNameError
from edgecnn.export.quiet import captured
from edgecnn.models import ModelArguments
from edgecnn.quantize.floats import float_nodes
from edgecnn.quantize.graph import example, finish, module_of
from edgecnn.quantize.layers import UnitClamp

DEFAULT_ENGINE = "qnnpack"  # the only one on ARM, and on x86 the fastest for nets this small


def engines() -> list[str]:
    """Names of the quantized engines of this torch."""
    return [name for name in torch.backends.quantized.supported_engines if name != "none"]


def check_engine(name: str) -> None:
    """Raise UnknownNameError unless this torch has the quantized engine ``name``."""
    if name not in engines():
        raise UnknownNameError("quantized engine", name, engines())


def convert(module: nn.Module, arguments: ModelArguments) -> bytes:
    """A frozen TorchScript file of a float or int8 module: float32 [n, channels, height, width] to [n, classes]."""
    with captured("the TorchScript export"), torch.no_grad():
        traced = torch.jit.trace(module.eval(), example(arguments, 2))
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.freeze(traced), buffer)
    return _without_sources(buffer.getvalue())


def _without_sources(content: bytes) -> bytes:
    """The archive without its ``.debug_pkl`` files: where each line came from, with the paths of this machine."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(entry.filename), source.read(entry))
    return kept.getvalue()


@contextmanager
def _engine(name: str) -> Iterator[None]:
    """The quantized engine is global in torch: chosen for a block, then put back."""
    previous = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = previous


def quantize(
    graph_module: fx.GraphModule,
    arguments: ModelArguments,
    images: Iterable[np.ndarray],
    engine: str,
    float_layers: Iterable[str] = (),
) -> tuple[nn.Module, nn.Module]:
    """An int8 module for ``engine``, calibrated on batches uint8 [n, height, width, channels], and its simulation.

    TorchScript has no quantize/dequantize form that its engines would run in integers, so this is PyTorch's own
    FX-graph quantization with its own ranges, not our QDQ graph. The simulation has the same integers and computes with
    them in float, in no engine: one whose sums saturate, as some do on x86 without VNNI, is found out by it.
    ``float_layers`` stay float32, as in ``ptq.calibrate``. Raises UnknownNameError for another engine, or for no layer.
    """
    check_engine(engine)
    with captured("the int8 TorchScript conversion"), torch.no_grad():
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, convert_to_reference_fx, prepare_fx

        with _engine(engine):
            settings = get_default_qconfig_mapping(engine)
            for node in float_nodes(graph_module, float_layers):
                if node.op == "call_module":
                    settings.set_module_name(str(node.target), None)
            observed = prepare_fx(_ready(graph_module), settings, (example(arguments),))
            for batch in images:
                observed(to_input(torch.from_numpy(batch)))
            quantized = convert_fx(copy.deepcopy(observed))
            simulation = convert_to_reference_fx(observed)
    assert isinstance(quantized, nn.Module) and isinstance(simulation, nn.Module)
    return quantized, simulation


class _FloatPReLU(nn.PReLU):
    """One that torch's quantization does not know."""

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)


def _ready(graph_module: fx.GraphModule) -> fx.GraphModule:
    """A copy whose clamps take images channel by channel, in memory, and whose PReLUs stay float.

    QNNPACK's clamp writes what it was given pixel by pixel into a tensor that is read channel by channel (qclamp.cpp of
    torch 2.14; the same was mended for other functions in pytorch/pytorch#46077). What its PReLU gives is not what
    torch's own reference gives.
    """
    copied = copy.deepcopy(graph_module)
    for node in copied.graph.nodes:
        module = module_of(copied, node)
        if isinstance(module, nn.PReLU):
            module.__class__ = _FloatPReLU
        if isinstance(module, nn.Hardtanh | UnitClamp) or node.target in (torch.clamp, "clamp"):
            with copied.graph.inserting_before(node):
                node.replace_input_with(node.args[0], copied.graph.call_method("contiguous", (node.args[0],)))
    return finish(copied)
