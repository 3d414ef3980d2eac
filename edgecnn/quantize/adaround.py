"""AdaRound: each weight is rounded up or down as the layer's output needs it, not to the nearest step.

M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020): which way each weight goes is
trained, layer by layer, on what the layer gives for calibration images, with a term that ends all doubt.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from edgecnn.models.strided import right_gradients
from edgecnn.quantize.correct import Stepper
from edgecnn.quantize.graph import module_of
from edgecnn.quantize.qdq import fuses_into_relu
from edgecnn.quantize.simulate import Mode, QuantizedConv2d, QuantizedLinear, set_mode

FULL = 8  # bits, with which there is nothing to gain
STEPS = 400
IMAGES = 32  # in a step
RATE = 0.03
UNDECIDED = 0.2  # of the steps, before the term that ends all doubt sets in
WEIGHT = 0.01  # of that term
SHARPNESS = (20.0, 2.0)  # its exponent, from the first step to the last
STRETCH = (-0.1, 1.1)  # the sigmoid reaches this far, and is cut off to 0..1


def adapt_rounding(graph_module: fx.GraphModule, images: Tensor) -> None:
    """Settle the rounding of all weights of less than 8 bits in a calibrated QDQ graph, in place.

    The layers are taken in the order of execution, each with what the settled ones before it give. ``images`` is the
    network's input float32 [n, channels, height, width]. The graph is left in SIMULATE mode.
    """
    layers = [part for part in graph_module.modules() if isinstance(part, QuantizedConv2d | QuantizedLinear)]
    if all(layer.weight_bits >= FULL for layer in layers):
        return
    exact = copy.deepcopy(graph_module)
    set_mode(exact, Mode.OBSERVE)
    set_mode(graph_module, Mode.SIMULATE)
    float_side, quantized_side = Stepper(exact, images), Stepper(graph_module, images)
    generator = torch.Generator().manual_seed(0)
    for float_node, node in zip(exact.graph.nodes, graph_module.graph.nodes, strict=True):
        layer = module_of(graph_module, node)
        given = None
        if isinstance(layer, QuantizedConv2d | QuantizedLinear) and layer.weight_bits < FULL:
            given = quantized_side.env[node.args[0]]
        with torch.no_grad():
            wanted = float_side.step(float_node)
        if given is not None:
            assert isinstance(layer, QuantizedConv2d | QuantizedLinear)
            with right_gradients(layer):
                _adapt(layer, given, wanted, fuses_into_relu(graph_module, node), generator)
        with torch.no_grad():
            quantized_side.step(node)


def _adapt(
    layer: QuantizedConv2d | QuantizedLinear, given: Tensor, wanted: Tensor, relu: bool, generator: torch.Generator
) -> None:
    """Settle the rounding of one layer, that gets ``given`` and should give ``wanted``."""
    scales = layer.weight_scales()
    steps = scales.view(-1, *[1] * (layer.weight.dim() - 1))
    weight = layer.weight.detach() / steps
    low = weight.floor()
    rest = (weight - low).clamp(1e-3, 1 - 1e-3)
    open_ends = STRETCH[1] - STRETCH[0]
    doubt = (-torch.log(open_ends / (rest - STRETCH[0]) - 1)).requires_grad_()
    adam = torch.optim.Adam([doubt], lr=RATE)

    def up() -> Tensor:
        return (torch.sigmoid(doubt) * open_ends + STRETCH[0]).clamp(0, 1)

    for step in range(STEPS):
        chosen = torch.randint(len(given), (IMAGES,), generator=generator)
        share = up()
        rounded = ((low + share).clamp(-layer.largest, layer.largest)) * steps
        found = layer.with_weight(given[chosen], rounded)
        target = wanted[chosen]
        if relu:
            found, target = F.relu(found), F.relu(target)
        loss = (found - target).square().sum(1).mean()
        done = (step / STEPS - UNDECIDED) / (1 - UNDECIDED)
        if done > 0:
            sharpness = SHARPNESS[1] + (SHARPNESS[0] - SHARPNESS[1]) * (1 - done)
            loss = loss + WEIGHT * (1 - (2 * share - 1).abs().pow(sharpness)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        settled = (low + (up() >= 0.5)).clamp(-layer.largest, layer.largest)
        layer.weight.copy_(settled * steps)
        layer.smallest_scales = torch.maximum(layer.smallest_scales, scales)
