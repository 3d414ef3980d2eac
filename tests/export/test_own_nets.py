"""What torchvision's and timm's models hold, as TFLite files: int8 where it is promised, equal to the simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.errors import CheckFailedError, UsageError
from edgecnn.evaluate import predictor
from edgecnn.export import parity, tflite
from edgecnn.export.blame import layer_names
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.measure.stats import agreement
from edgecnn.models import Normalization
from edgecnn.models.normalization import attach
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.qdq import Borders, borders_of, float_operations
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from tests import nets, own_nets

# Noise over a colour of its own in each picture: of noise alone all pictures look the same to a mean.
PICTURES = nets.images(200, (32, 32, 3)) // 4 + nets.images(200, (1, 1, 3), seed=1) // 4 * 3
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def logits(content, tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(content)
    with open_artifact(path) as runner:
        return predict(runner, PICTURES)


@pytest.fixture(params=own_nets.KINDS, ids=lambda kind: kind.__name__)
def model(request):
    """A small model with an ImageNet normalization; its logits are spread by its last layer."""
    built = own_nets.build(request.param)
    head = built.get_submodule("head")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight *= 5
    return attach(built, IMAGENET)


@pytest.mark.usefixtures("stored_conversions")
def test_static_w8a8_is_the_simulation(model, tmp_path):
    graph = ptq.calibrate(model, own_nets.ARGUMENTS, [PICTURES], passes.defaults(STATIC_W8A8))
    content = tflite.convert_quantized(graph, own_nets.ARGUMENTS)
    found, simulated = logits(content, tmp_path), predictor(graph)(PICTURES)
    floats = predictor(model)(PICTURES)
    spread = np.ptp(simulated, axis=0).max()
    assert np.abs(found - simulated).mean() < 0.02 * spread
    assert np.abs(found - floats).mean() < 0.05 * spread
    assert agreement(found.argmax(1), simulated.argmax(1)) >= 0.95
    parity.check_structure("x", content, str)
    names = layer_names(content, graph).__getitem__
    gate = parity.check_integers("x", content, names, borders_of(graph), float_operations(graph))
    operations = TFLiteGraph(content).operations()
    if isinstance(model, own_nets.Layered):
        assert gate["float_operations"] == "norm (LayerNorm)"
        assert operations["QUANTIZE"] == operations["DEQUANTIZE"] == 1
        with pytest.raises(
            CheckFailedError, match="1 QUANTIZE and 1 DEQUANTIZE operations where the model's graph has 0"
        ):
            parity.check_integers("x", content, names, Borders(frozenset(), frozenset(), 0, 0), [])
    else:
        assert gate == {"float_operations": "", "float_ops": 0}
        assert operations["QUANTIZE"] == operations["DEQUANTIZE"] == 0
    # A shuffle of channels moves them; nothing else needs to.
    assert operations["TRANSPOSE"] == (1 if isinstance(model, own_nets.Shuffled) else 0)


@pytest.mark.usefixtures("stored_conversions")
def test_float32_is_the_model(model, tmp_path):
    graph = passes.apply(fold(model, own_nets.ARGUMENTS), passes.defaults(FLOAT32), own_nets.ARGUMENTS)
    content = tflite.convert_float(graph, own_nets.ARGUMENTS)
    nets.assert_close(torch.from_numpy(logits(content, tmp_path)), torch.from_numpy(predictor(model)(PICTURES)), 1e-4)


@pytest.mark.usefixtures("stored_conversions")
@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)], ids=["group", "instance"])
def test_norms_over_groups_of_channels_stay_float_and_are_the_model_s(norm, tmp_path):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, stride=2), norm, nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    graph = ptq.calibrate(model, own_nets.ARGUMENTS, [PICTURES], passes.defaults(STATIC_W8A8))
    assert float_operations(graph) == ["1 (GroupNorm)"]
    found, floats = logits(tflite.convert_quantized(graph, own_nets.ARGUMENTS), tmp_path), predictor(model)(PICTURES)
    assert np.abs(found - floats).mean() < 0.05 * np.ptp(floats, axis=0).max()


@pytest.mark.usefixtures("stored_conversions")
def test_what_the_converter_computes_in_int8_after_all_is_not_said_to_be_float(tmp_path):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(8, 8, 3)
    model = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    graph = ptq.calibrate(model, own_nets.ARGUMENTS, [PICTURES], passes.defaults(STATIC_W8A8))
    content = tflite.convert_quantized(graph, own_nets.ARGUMENTS)
    assert float_operations(graph) == ["2 (Upsample)"]
    names = layer_names(content, graph).__getitem__
    gate = parity.check_integers("x", content, names, borders_of(graph), float_operations(graph))
    assert gate == {"float_operations": "", "float_ops": 0}
    found, floats = logits(content, tmp_path), predictor(model)(PICTURES)
    assert np.abs(found - floats).mean() < 0.05 * np.ptp(floats, axis=0).max()


class Cosine(nn.Module):
    """Computes what stands in a file for a border between int8 and float32, until it is taken out again."""

    def __init__(self, share):
        super().__init__()
        self.conv, self.head, self.share = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 4), share

    def forward(self, x):
        x = self.conv(x)
        return self.head((x + self.share * torch.cos(x)).mean((2, 3)))


def test_a_cosine_of_the_model_is_not_taken_out():
    model = Cosine(0.004).eval()
    graph = ptq.calibrate(model, own_nets.ARGUMENTS, [PICTURES], passes.defaults(STATIC_W8A8))
    with pytest.raises(CheckFailedError, match="the model computes cos, which edgecnn lets no device run"):
        tflite.convert_quantized(graph, own_nets.ARGUMENTS)


class Tokens(nn.Module):
    """A BatchNorm1d that normalizes the rows of a linear layer's results, not its outputs."""

    def __init__(self, rows):
        super().__init__()
        self.conv, self.each = nn.Conv2d(3, rows, 4, 4), nn.Linear(64, 16)
        self.norm, self.head = nn.BatchNorm1d(rows), nn.Linear(rows, 4)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.each(self.conv(x).flatten(2)))).mean(2))


@pytest.mark.parametrize("rows", [8, 16])
def test_a_norm_over_tokens_is_not_folded_into_the_layer_before(rows):
    torch.manual_seed(0)
    model = nets.with_statistics(Tokens(rows)).eval()
    graph = fold(model, own_nets.ARGUMENTS)
    nets.assert_close(torch.from_numpy(predictor(graph)(PICTURES)), torch.from_numpy(predictor(model)(PICTURES)), 1e-4)


class Odd(nn.Module):
    """Looks at the size of its images, which only torch.export can follow; a BatchNorm1d in its head."""

    def __init__(self, statistics=True):
        super().__init__()
        self.conv, self.each = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 16)
        self.norm, self.head = nn.BatchNorm1d(16, track_running_stats=statistics), nn.Linear(16, 4)

    def forward(self, x):
        if x.shape[2] % 2 == 0:
            x = nn.functional.pad(x, (0, 1, 0, 1))
        return self.head(torch.relu(self.norm(self.each(torch.relu(self.conv(x)).mean((2, 3))))))


def test_a_norm_in_the_head_of_a_model_that_is_exported():
    torch.manual_seed(0)
    model = nets.with_statistics(Odd()).eval()
    graph = fold(model, own_nets.ARGUMENTS)
    nets.assert_close(torch.from_numpy(predictor(graph)(PICTURES)), torch.from_numpy(predictor(model)(PICTURES)), 1e-4)
    with pytest.raises(UsageError, match="BatchNorm without running statistics"):
        fold(Odd(statistics=False).eval(), own_nets.ARGUMENTS)
