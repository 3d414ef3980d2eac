"""Post-training quantization: calibrate the QDQ graph on training images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import fx, nn

from edgecnn.data.augment import to_input
from edgecnn.errors import BadFileError
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes
from edgecnn.quantize.fold import fold
from edgecnn.quantize.qdq import insert_quantizers, make_room_for_biases
from edgecnn.quantize.simulate import ActivationQuantizer, Mode, set_mode


def calibrate(
    model: nn.Module,
    arguments: ModelArguments,
    images: Iterable[np.ndarray],
    rewrites: Iterable[str],
) -> fx.GraphModule:
    """The QDQ graph of ``model`` for recipe ``static_w8a8``, in SIMULATE mode.

    ``images`` are batches uint8 [n, height, width, channels] of training images; each activation's range is the
    smallest and largest value seen (and zero). ``rewrites`` are names of ``passes.PASSES``. Raises BadFileError
    naming the first tensor that is not finite.
    """
    graph_module = insert_quantizers(passes.apply(fold(model, arguments), rewrites, arguments))
    set_mode(graph_module, Mode.OBSERVE)
    with torch.no_grad():
        for batch in images:
            graph_module(to_input(torch.from_numpy(batch)))
    for name, part in graph_module.named_modules():
        if isinstance(part, ActivationQuantizer) and not torch.isfinite(part.high - part.low):
            tensor = name.removeprefix("quantizer_")
            raise BadFileError(f"the output of '{tensor}' is not finite: the weights are damaged; train again")
    make_room_for_biases(graph_module)
    set_mode(graph_module, Mode.SIMULATE)
    return graph_module
