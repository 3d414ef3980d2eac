"""Bias correction: after it, every layer's mean output is the float one, and the net is nearer to float."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgecnn.data.augment import to_input
from edgecnn.evaluate import predictor
from edgecnn.models import ModelArguments
from edgecnn.quantize import ptq
from edgecnn.quantize.correct import correct_biases
from edgecnn.quantize.fold import fold
from edgecnn.quantize.qdq import insert_quantizers
from edgecnn.quantize.simulate import Mode, QuantizedConv2d, QuantizedLinear, set_mode
from tests import nets


def quantized(model: nn.Module, inputs: torch.Tensor, arguments: ModelArguments | None = None):
    """A QDQ graph with ranges of the inputs and nothing corrected."""
    graph_module = insert_quantizers(fold(model, arguments))
    set_mode(graph_module, Mode.OBSERVE)
    with torch.no_grad():
        graph_module(inputs)
    set_mode(graph_module, Mode.SIMULATE)
    return graph_module


def layer_means(module: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    """The mean output of each channel of every layer."""
    means = []

    def keep(_layer, _inputs, output):
        means.append(output.mean([axis for axis in range(output.ndim) if axis != 1]))

    hooks = [part.register_forward_hook(keep) for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        module(inputs)
    for hook in hooks:
        hook.remove()
    return means


def shift(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


def test_means_of_all_layers_are_those_of_the_float_model_afterwards():
    model = nets.handwritten()
    inputs = to_input(torch.from_numpy(nets.images(64)))
    graph_module = quantized(model, inputs)
    wanted = layer_means(fold(model), inputs)
    before = shift(layer_means(graph_module, inputs), wanted)
    correct_biases(graph_module, inputs)
    after = shift(layer_means(graph_module, inputs), wanted)
    assert before > 1e-3
    assert after < before / 100


class ChannelsLast(nn.Module):
    """A linear layer over every pixel, as ConvNeXt and its like have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).mean((2, 3))


def test_a_linear_layer_over_pixels_has_its_channels_at_the_end():
    torch.manual_seed(0)
    model, inputs = ChannelsLast().eval(), to_input(torch.from_numpy(nets.images(32, (8, 8, 3))))
    graph_module = quantized(model, inputs, ModelArguments(8, 3, (8, 8)))
    outputs = []
    graph_module.mix.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output.mean((0, 1, 2))))
    with torch.no_grad():
        graph_module(inputs)
        correct_biases(graph_module, inputs)
        graph_module(inputs)
        wanted = model.mix(model.stem(inputs).permute(0, 2, 3, 1)).mean((0, 1, 2))
    before, after = ((each - wanted).abs().max() for each in (outputs[0], outputs[-1]))
    assert before > 1e-4
    assert after < before / 100


def test_only_biases_change_and_a_layer_without_one_is_left_alone():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 5))
    inputs = to_input(torch.from_numpy(nets.images(32, (8, 8, 3))))
    graph_module = quantized(model, inputs)
    layers = [part for part in graph_module.modules() if isinstance(part, QuantizedConv2d | QuantizedLinear)]
    weights = [layer.weight.detach().clone() for layer in layers]
    correct_biases(graph_module, inputs)
    assert layers[0].bias is None
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(layers, weights, strict=True))


def test_calibration_with_correction_is_nearer_to_float_on_images_it_has_not_seen():
    source = nets.source("resnet8")
    pictures = source.dataset.test.take(np.arange(300))[0]
    calibrated = ptq.calibrate(source.model, source.arguments, source.calibration_batches(), ())
    inputs = to_input(torch.from_numpy(np.concatenate(list(source.calibration_batches()))))
    plain = quantized(source.model, inputs)
    expected = predictor(source.model)(pictures)
    errors = [np.square(predictor(each)(pictures) - expected).mean() for each in (calibrated, plain)]
    assert errors[0] < 0.9 * errors[1]
