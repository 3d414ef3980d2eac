"""Calibration: ranges from images, and a simulation that stays close to float."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.errors import BadFileError
from edgecnn.evaluate import predictor
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.simulate import ActivationQuantizer, AverageQuantizer, Mode, QuantizedConv2d, mode_of
from tests import nets


def ranges(graph_module):
    return {
        name: (float(part.low), float(part.high))
        for name, part in graph_module.named_modules()
        if isinstance(part, ActivationQuantizer)
    }


def test_ranges_are_the_smallest_and_largest_value_of_all_batches():
    torch.manual_seed(6)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    pictures = nets.images(40, (8, 8, 3))
    arguments = ModelArguments(10, 3, (8, 8))
    graph_module = ptq.calibrate(net, arguments, [pictures[:7], pictures[7:39], pictures[39:]], ())
    once = ptq.calibrate(net, arguments, [pictures], ())
    x = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 128) / 64
    middle = torch.relu(net[0](x)).detach()
    last = net[2](middle).detach()
    for found in (ranges(graph_module), ranges(once)):
        assert found["quantizer__1"] == pytest.approx((0, float(middle.max())), rel=1e-5)
        assert found["quantizer__2"] == pytest.approx((float(last.min()), float(last.max())), rel=1e-5)


@pytest.mark.parametrize("names", [(), tuple(passes.PASSES)], ids=["no passes", "all passes"])
@pytest.mark.parametrize("model", nets.MODELS)
def test_both_exported_forms_of_a_model_compute_what_the_simulation_does(model, names):
    source = nets.source(model)
    graph_module = ptq.calibrate(source.model, source.arguments, source.calibration_batches(), names)
    predict = predictor(graph_module)
    pictures = source.dataset.test.take(np.arange(100))[0]
    simulated = predict(pictures)
    for mode in (Mode.TFLITE, Mode.ONNX):
        with mode_of(graph_module, mode):
            exported = predict(pictures)
        if any(isinstance(part, AverageQuantizer) for part in graph_module.modules()):
            # The file's engine, not its operations, says how halves are rounded.
            assert np.mean(exported.argmax(1) == simulated.argmax(1)) >= 0.97
        else:
            assert np.array_equal(exported, simulated)
    logits = predictor(source.model)(pictures)
    assert not np.array_equal(simulated, logits)
    assert np.mean(simulated.argmax(1) == logits.argmax(1)) >= 0.97


def test_passes_that_move_pixels_do_not_change_the_simulation():
    """Pairs of columns have the same weights in each filter, so even the rounding stays."""
    source = nets.source("lenet")
    pictures = source.dataset.test.take(np.arange(100))[0]
    plain, moved = (
        predictor(ptq.calibrate(source.model, source.arguments, source.calibration_batches(), names))(pictures)
        for names in ((), ("flatten_order", "pair_columns"))
    )
    assert np.abs(plain - moved).max() < 0.02 * np.abs(plain).max()


def test_the_bias_of_a_channel_that_is_switched_off_fits_into_int32():
    torch.manual_seed(7)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10))
    nets.switch_off(net[0])
    pictures = nets.images(64, (8, 8, 3))
    graph_module = ptq.calibrate(net, ModelArguments(10, 3, (8, 8)), [pictures], ())
    (layer,) = [part for part in graph_module.modules() if isinstance(part, QuantizedConv2d)]
    assert layer.bias is not None
    steps = layer.bias.detach().abs() / (layer.weight_scales() / 64)
    assert float(steps.max()) < 2**30 * 1.001
    assert float(steps[0]) == pytest.approx(2**30)
    largest = layer.weight.detach().abs().amax((1, 2, 3))
    assert torch.equal(layer.weight_scales()[2:], largest[2:] / 127)
    simulated, expected = (torch.from_numpy(predictor(each)(pictures)) for each in (graph_module, net))
    nets.assert_close(simulated, expected, 0.03)


def test_weights_that_are_no_numbers_are_named():
    source = nets.source("lenet")
    broken = nets.untrained("lenet")
    broken.state_dict()["conv2.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(BadFileError, match="the output of 'conv2' is not finite"):
        ptq.calibrate(broken, source.arguments, [nets.images()], ())


class Named(nn.Module):
    """Layers under the names that what is put between them would have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.quantizer_first, self.first_pair = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 1), nn.ReLU()
        self.flatten_channels_last = nn.Linear(8 * 64, 4)
        self.flatten = nn.Flatten()

    def forward(self, x):
        return self.flatten_channels_last(self.flatten(self.quantizer_first(self.first_pair(self.first(x)))))


def test_what_is_put_between_layers_takes_no_layers_name():
    net, pictures = Named().eval(), nets.images(64, (8, 8, 3))
    graph_module = ptq.calibrate(net, ModelArguments(4, 3, (8, 8)), [pictures], passes.PASSES)
    simulated, expected = (torch.from_numpy(predictor(each)(pictures)) for each in (graph_module, net))
    nets.assert_close(simulated, expected, 0.05)


def test_a_mask_of_pixels_may_be_of_any_type():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(6)
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.register_buffer("mask", torch.rand(8, 8) > 0.5)
            self.register_buffer("ramp", torch.arange(8))

        def forward(self, x):
            return (self.conv(x) * self.mask + self.ramp).mean((2, 3))

    model, pictures = Net().eval(), nets.images(8, (8, 8, 3))
    found = predictor(ptq.calibrate(model, ModelArguments(4, 3, (8, 8)), [pictures], ()))(pictures)
    wanted = predictor(model)(pictures)
    assert np.abs(found - wanted).max() <= 0.01 * np.abs(wanted).max()
