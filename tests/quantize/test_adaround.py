"""Adaptive rounding: every weight goes up or down by itself, and the layers give more of what they should."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, fx

from edgecnn.data.augment import to_input
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.adaround import adapt_rounding
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8
from edgecnn.quantize.simulate import Mode, QuantizedConv2d, QuantizedLinear, weight_bits
from tests import nets


def observed(recipe=STATIC_W4A8) -> tuple[fx.GraphModule, Tensor]:
    source = nets.source("lenet")
    batches = [to_input(torch.from_numpy(images)) for images in source.calibration_batches()]
    return ptq.observe(source.model, source.arguments, batches, passes.PASSES, recipe), torch.cat(batches)


def layer(graph_module: fx.GraphModule, name: str) -> QuantizedConv2d | QuantizedLinear:
    found = graph_module.get_submodule(name)
    assert isinstance(found, QuantizedConv2d | QuantizedLinear)
    return found


@pytest.fixture(scope="module")
def adapted() -> tuple[fx.GraphModule, fx.GraphModule, Tensor]:
    """The graph before and after, and the images it was adapted to."""
    before, images = observed()
    after = copy.deepcopy(before)
    adapt_rounding(after, images)
    return before, after, images


def test_weights_of_4_bits_are_whole_steps_next_to_what_they_were(adapted):
    before, after, _ = adapted
    assert 4 in weight_bits(after).values()
    for name, bits in weight_bits(after).items():
        old, new = layer(before, name), layer(after, name)
        assert old.bias is not None and new.bias is not None
        assert torch.equal(old.bias, new.bias)
        if bits == 8:
            assert torch.equal(old.weight, new.weight)
            continue
        scales = old.weight_scales().view(-1, *[1] * (old.weight.dim() - 1))
        assert torch.equal(new.weight_scales(), old.weight_scales())
        steps = new.weight.detach() / scales
        assert float((steps - steps.round()).abs().max()) < 1e-4
        assert float(steps.abs().max()) < 7.001
        assert float((steps - old.weight.detach() / scales).abs().max()) < 1.001
        other = (steps.round() != (old.weight.detach() / scales).round()).float().mean()
        assert 0.02 < float(other) < 0.4  # not to the nearest
        nets.assert_close(new.quantized_weight(), new.weight, 1e-6)


def test_the_logits_are_nearer_to_the_float_ones_on_images_it_has_not_seen(adapted):
    before, after, _ = adapted
    source = nets.source("lenet")
    x = to_input(torch.from_numpy(source.dataset.test.take(torch.arange(300).numpy())[0]))
    with torch.no_grad():
        exact = source.model(x)
        nearest, adaptive = (float((graph(x) - exact).square().mean()) for graph in (before, after))
    assert adaptive < nearest / 1.5
    assert all(part.mode is Mode.SIMULATE for part in after.modules() if hasattr(part, "mode"))


def test_calibration_adapts_4_bit_weights_and_no_others():
    source = nets.source("lenet")
    pictures = [next(iter(source.calibration_batches()))]
    inputs = [to_input(torch.from_numpy(pictures[0]))]
    for recipe, adapts in ((STATIC_W4A8, True), (STATIC_W8A8, False)):
        plain = ptq.observe(source.model, source.arguments, inputs, (), recipe).get_parameter("fc1.weight")
        found = ptq.calibrate(source.model, source.arguments, pictures, (), recipe).get_parameter("fc1.weight")
        assert torch.equal(found, plain) != adapts
