"""Ranges that cut off a little: the one, of some candidates, whose rounding and cutting lose least.

A wider range rounds coarser, a narrower one cuts off more. For every tensor the calibrated range is shrunk step by
step, and the candidate with the least squared error on calibration images is taken (as in R. Banner et al., "Post
training 4-bit quantization of convolutional networks for rapid-deployment" (2019), by search). Both ends shrink by
the same share: searching each end by itself cut off too much.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from edgecnn.quantize.graph import module_of
from edgecnn.quantize.qdq import joined_quantizers
from edgecnn.quantize.simulate import QMAX, QMIN, ActivationQuantizer, AverageQuantizer, Mode, affine_of, set_mode

SHRINKS = tuple(1 - 0.02 * step for step in range(21))  # 1 to 0.6
VALUES = 1 << 17  # of a tensor in a batch, drawn at random, are enough to tell


def tighten_ranges(graph_module: fx.GraphModule, batches: Iterable[Tensor]) -> None:
    """Shrink the activation ranges of a calibrated QDQ graph, in place, where that lowers the squared error.

    ``batches`` are the network's inputs float32 [n, channels, height, width]. A quantizer that several tensors share
    takes what is best for all that are computed on its grid; others only move their values. The graph is left in
    SIMULATE mode.
    """
    set_mode(graph_module, Mode.OBSERVE)
    search = _Search(graph_module)
    with torch.no_grad():
        for batch in batches:
            search.run(batch)
    for quantizer, errors in search.errors.items():
        best = SHRINKS[int(errors.argmin())]
        quantizer.low, quantizer.high = quantizer.low * best, quantizer.high * best
    set_mode(graph_module, Mode.SIMULATE)


def take_ranges(graph_module: fx.GraphModule, whole: fx.GraphModule) -> None:
    """Give the quantizers of a QDQ graph the ranges that ``whole`` has for them, the same graph without float layers.

    A tensor that only ``whole`` joins with others takes the range of all of them.
    """
    tensors, joined = whole.state_dict(), joined_quantizers(whole)
    for name, part in graph_module.named_modules():
        if isinstance(part, ActivationQuantizer):
            kept = joined.get(name, name)
            part.low.copy_(tensors[f"{kept}.low"])
            part.high.copy_(tensors[f"{kept}.high"])


class _Search(fx.Interpreter):
    """Runs a graph in float and sums up what each candidate range would have lost."""

    module: fx.GraphModule

    def __init__(self, graph_module: fx.GraphModule) -> None:
        super().__init__(graph_module)
        self.errors: dict[ActivationQuantizer, Tensor] = {}
        self._draws = torch.Generator().manual_seed(0)

    def run_node(self, n: fx.Node) -> Tensor:
        value: Tensor = super().run_node(n)
        quantizer = module_of(self.module, n)
        if not isinstance(quantizer, ActivationQuantizer) or quantizer.fixed is not None:
            return value
        sources = [_grid_of(module_of(self.module, each)) for each in n.all_input_nodes[0].all_input_nodes]
        if quantizer not in sources:
            losses = _losses(quantizer, self._some(value.flatten()))
            self.errors[quantizer] = self.errors.get(quantizer, torch.zeros_like(losses)) + losses
        return value

    def _some(self, values: Tensor) -> Tensor:
        """VALUES of them: any step through a picture could be one of its width, and see a few columns of it alone."""
        if len(values) <= VALUES:
            return values
        return values[torch.randint(len(values), (VALUES,), generator=self._draws)]


def _grid_of(module: nn.Module | None) -> nn.Module | None:
    """The quantizer whose grid ``module`` rounds to."""
    return module.source if isinstance(module, AverageQuantizer) else module


def _losses(quantizer: ActivationQuantizer, values: Tensor) -> Tensor:
    """Sum of squared errors [candidates] of values [n]."""
    low, high = float(quantizer.low), float(quantizer.high)
    grids = [affine_of(low * shrink, high * shrink) for shrink in SHRINKS]
    rounded = [torch.fake_quantize_per_tensor_affine(values, g.scale, g.zero_point, QMIN, QMAX) for g in grids]
    return torch.stack([(each - values).square().sum(dtype=torch.float64) for each in rounded])
