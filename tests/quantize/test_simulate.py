"""Simulated quantization: grids, ranges and modes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn.quantize.simulate import (
    FOLLOWING,
    ActivationQuantizer,
    Affine,
    AverageQuantizer,
    Mode,
    QuantizedConv2d,
    mode_of,
    set_mode,
)
from tests import nets


def quantizer(*values):
    """One that has seen these values, simulating."""
    made = ActivationQuantizer()
    for value in values:
        made(torch.tensor([float(value)]))
    made.set_mode(Mode.SIMULATE)
    return made


RANGES = [(0, 0), (0.1, 3), (-3, -0.5), (-1e-12, 1e-12), (-1, 1e6), (-1e6, 1), (-0.37, 2.11), (-1e-9, 5)]


@pytest.mark.parametrize("values", RANGES, ids=str)
def test_zero_is_exact_whatever_was_seen(values):
    made = quantizer(*values)
    affine = made.affine()
    assert affine.scale > 0
    assert -128 <= affine.zero_point <= 127
    for mode in (Mode.SIMULATE, Mode.TFLITE, Mode.ONNX):
        made.set_mode(mode)
        assert made(torch.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("values", RANGES[1:3] + RANGES[4:], ids=str)
def test_what_was_seen_is_kept_to_half_a_step_and_the_rest_is_cut_off(values):
    made = quantizer(*values)
    low, high, step = min(0, *values), max(0, *values), made.affine().scale
    assert step == pytest.approx((high - low) / 255)
    inside = torch.linspace(low, high, 1000)
    assert float((made(inside) - inside).abs().max()) <= step * 0.501
    assert len(made(inside).unique()) in (255, 256)
    assert float(made(torch.tensor(10.0 * high + 1))) <= high + step
    assert float(made(torch.tensor(10.0 * low - 1))) >= low - step


def test_the_range_only_widens():
    made = ActivationQuantizer()
    for value in ([1.0, 2.0], [-3.0, 0.5], [0.0, 1.0]):
        made(torch.tensor(value))
    assert (float(made.low), float(made.high)) == (-3, 2)
    made.set_mode(Mode.SIMULATE)
    made(torch.tensor([100.0]))
    assert float(made.high) == 2


def test_a_fixed_grid_ignores_what_it_sees():
    made = ActivationQuantizer(Affine(1 / 64, 0))
    made(torch.tensor([100.0]))
    assert made.affine() == Affine(1 / 64, 0)


def test_the_scale_is_a_float32_number():
    scale = quantizer(-0.1, 0.7).affine().scale
    assert float(torch.tensor(scale, dtype=torch.float32)) == scale


def layer():
    torch.manual_seed(5)
    return QuantizedConv2d.adopt(nn.Conv2d(4, 5, 3))


def test_weights_are_rounded_per_channel_to_127_steps():
    convolution = layer()
    with torch.no_grad():
        convolution.weight[1] *= 1000
        convolution.weight[2] = 0
    set_mode(convolution, Mode.SIMULATE)
    weight, rounded = convolution.weight.detach(), convolution.quantized_weight().detach()
    for channel in range(5):
        largest = float(weight[channel].abs().max())
        assert float((rounded[channel] - weight[channel]).abs().max()) <= largest / 127 / 2 * 1.001
        steps = rounded[channel] / max(largest / 127, 1e-30)
        assert float((steps - steps.round()).abs().max()) < 1e-3
        assert float(steps.abs().max()) < 127.001
    assert rounded[2].abs().max() == 0


def test_weights_of_4_bits_are_rounded_to_7_steps_in_every_form():
    convolution = layer()
    convolution.weight_bits = 4
    set_mode(convolution, Mode.SIMULATE)
    rounded = convolution.quantized_weight().detach()
    steps = rounded / convolution.weight_scales().view(-1, 1, 1, 1)
    assert sorted(steps.round().unique().int().tolist()) == list(range(-7, 8))
    assert float((steps - steps.round()).abs().max()) < 1e-3
    assert float(steps.abs().amax((1, 2, 3)).min()) > 6.999
    for mode in (Mode.FOLLOW, Mode.TFLITE, Mode.ONNX):
        set_mode(convolution, mode)
        nets.assert_close(convolution.quantized_weight(), rounded, 1e-7)


def test_observing_passes_float_through():
    convolution = layer()
    x = nets.inputs(2, 4, 6, 6)
    plain = nn.functional.conv2d(x, convolution.weight, convolution.bias)
    assert torch.equal(convolution(x), plain)
    made = ActivationQuantizer()
    assert made(x) is x
    set_mode(convolution, Mode.SIMULATE)
    assert not torch.equal(convolution(x), plain)


@pytest.mark.parametrize("mode", [Mode.TFLITE, Mode.ONNX])
def test_every_exported_form_rounds_as_the_simulation_does(mode):
    convolution, made = layer(), quantizer(-2.3, 3.1)
    set_mode(convolution, Mode.SIMULATE)
    x = 3 * nets.inputs(8, 4, 16, 16)
    simulated = made(convolution(made(x)))
    convolution.set_mode(mode)
    made.set_mode(mode)
    assert torch.equal(made(convolution(made(x))), simulated)


def test_after_an_export_and_after_a_failed_one_the_graph_simulates():
    convolution = layer()
    with mode_of(convolution, Mode.TFLITE):
        assert convolution.mode is Mode.TFLITE
    assert convolution.mode is Mode.SIMULATE

    def fail():
        raise ValueError("converter")

    with pytest.raises(ValueError, match="converter"), mode_of(convolution, Mode.ONNX):
        fail()
    assert convolution.mode is Mode.SIMULATE


def test_an_export_leaves_nothing_in_the_state_that_is_saved():
    convolution = layer()
    names = set(convolution.state_dict())
    with mode_of(convolution, Mode.ONNX):
        pass
    assert set(convolution.state_dict()) == names


@pytest.mark.parametrize("mode", [Mode.FOLLOW, Mode.FROZEN])
@pytest.mark.parametrize("values", RANGES[1:3] + RANGES[6:7], ids=str)
def test_what_is_trained_is_what_is_simulated(mode, values):
    made, convolution = quantizer(*values), layer()
    set_mode(convolution, Mode.SIMULATE)
    x = torch.linspace(min(0, *values), max(0, *values), 997)  # holds the range: nothing to follow
    simulated, weight = made(x), convolution.quantized_weight()
    made.set_mode(mode)
    convolution.set_mode(mode)
    nets.assert_close(made(x), simulated, 1e-6)
    nets.assert_close(convolution.quantized_weight(), weight, 1e-6)


def test_gradients_pass_straight_through_what_is_kept_and_stop_at_what_is_cut_off():
    made = quantizer(-1.0, 2.0)
    made.set_mode(Mode.FROZEN)
    lowest, highest = float(made(torch.tensor(-9.0))), float(made(torch.tensor(9.0)))
    x = torch.tensor([-1.5, lowest, -0.7, 0.0, 0.3, 1.9, highest, 2.5], requires_grad=True)
    made(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 1, 1, 0]
    convolution = layer()
    convolution.set_mode(Mode.FROZEN)
    convolution.quantized_weight().sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.eq(1).all()


def test_a_range_follows_the_batches_until_it_is_frozen():
    made = quantizer(-1.0, 2.0)
    made.set_mode(Mode.FOLLOW)
    made(torch.tensor([-3.0, 12.0]))
    assert float(made.low) == pytest.approx(-1 - 2 * FOLLOWING)
    assert float(made.high) == pytest.approx(2 + 10 * FOLLOWING)
    for _ in range(2000):
        made(torch.tensor([0.5, 1.0]))
    assert float(made.low) == pytest.approx(0, abs=1e-6)  # zero stays in the range
    assert float(made.high) == pytest.approx(1, rel=1e-4)
    made.set_mode(Mode.FROZEN)
    made(torch.tensor([-3.0, 12.0]))
    assert float(made.high) == pytest.approx(1, rel=1e-4)


def test_a_fixed_grid_follows_nothing():
    made = ActivationQuantizer(Affine(1 / 64, 0))
    made.set_mode(Mode.FOLLOW)
    assert made(torch.tensor([100.0, 0.017])).tolist() == [127 / 64, 1 / 64]
    assert (float(made.low), float(made.high)) == (0, 0)


@pytest.mark.parametrize("mode", [Mode.SIMULATE, Mode.FROZEN])
def test_halves_of_averages_are_rounded_away_from_zero(mode):
    """int8 values with zero point -28 and scale 1: what is -2.5 in integers becomes -3, and 2.5 becomes 3."""
    source = ActivationQuantizer(Affine(1.0, -28))
    source.set_mode(mode)
    integers = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.25, 0.75, -0.75, 127, -128])
    averaged = AverageQuantizer(source)(integers + 28) - 28
    assert averaged.tolist() == [-3, -2, -1, 1, 2, 3, 0, 1, -1, 127, -128]
    source.set_mode(Mode.TFLITE)
    assert (AverageQuantizer(source)(integers + 28) - 28).tolist()[:6] == [-2, -2, 0, 0, 2, 2]


def test_averages_of_a_grid_that_float_cannot_hold_are_rounded_as_integers_are():
    """0.0123 times an integer is off by a little; a half must be recognised all the same."""
    source = quantizer(-0.0123 * 100, 0.0123 * 155)
    scale, zero_point = source.affine().scale, source.affine().zero_point
    integers = torch.randint(-128, 128, (500, 2, 2), generator=torch.Generator().manual_seed(0)).float()
    average = ((integers - zero_point) * scale).mean((1, 2))
    rounded = AverageQuantizer(source)(average) / scale + zero_point
    total = integers.sum((1, 2))
    expected = torch.sign(total) * ((total.abs() + 2) // 4)  # in integers alone
    assert (total % 4 == 2).sum() > 50
    nets.assert_close(rounded, expected, 1e-5)


def test_gradients_pass_through_an_average():
    source = ActivationQuantizer(Affine(1.0, 0))
    source.set_mode(Mode.FROZEN)
    x = torch.tensor([0.5, 3.2], requires_grad=True)
    AverageQuantizer(source)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1]
