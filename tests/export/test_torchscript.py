"""TorchScript, float and with the int8 engines."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_fx

from edgecnn.data.augment import to_input
from edgecnn.errors import UnknownNameError
from edgecnn.evaluate import predictor
from edgecnn.export import torchscript
from edgecnn.export.drafts import Order
from edgecnn.models import ModelArguments
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from tests import nets

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*")

OTHER = next((name for name in ("x86", "fbgemm", "onednn") if name in torchscript.engines()), None)


@pytest.mark.parametrize("engine", [torchscript.DEFAULT_ENGINE, OTHER])
def test_an_int8_file_for_an_engine(engine, tmp_path):
    if engine not in torchscript.engines():
        pytest.skip("this torch has no such engine")
    before = torch.backends.quantized.engine
    orders = [Order("torchscript", FLOAT32), Order("torchscript", STATIC_W8A8, engine=engine)]
    floats, result = nets.judged(orders, nets.source("lenet"), tmp_path)
    assert torch.backends.quantized.engine == before
    assert (floats.failure, result.failure) == (None, None)
    assert (floats.artifact.engine, result.artifact.engine) == (None, engine)
    assert result.artifact.gate["agreement"] >= 0.97
    assert result.artifact.bytes <= 0.32 * floats.artifact.bytes
    assert abs(result.score.accuracy - floats.score.accuracy) <= 0.02
    for file in (floats.file, result.file):
        assert not nets.places_in(tmp_path / file)
    code = str(torch.jit.load(str(tmp_path / result.file)).inlined_graph)
    assert "quantized::conv2d" in code and "quantized::linear" in code
    assert "aten::conv2d" not in code and "aten::linear" not in code


class Saturating(nn.Module):
    """An int8 module by an engine whose sums do not hold what they should."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x):
        logits = self.module(x)
        return logits.minimum(logits.median(1, keepdim=True).values)


@pytest.mark.parametrize(
    ("engine", "advice"),
    [
        (torchscript.DEFAULT_ENGINE, "torchscript has no layers that could be held against PyTorch's"),
        (OTHER, f"the engine '{OTHER}' computes otherwise on this machine; take qnnpack, the default"),
    ],
    ids=["default", "other"],
)
def test_an_engine_that_computes_otherwise_is_found_out(engine, advice, tmp_path, monkeypatch):
    if engine not in torchscript.engines():
        pytest.skip("this torch has no such engine")
    right = quantize_fx.convert_fx
    monkeypatch.setattr(quantize_fx, "convert_fx", lambda observed: Saturating(right(observed)))
    (result,) = nets.judged([Order("torchscript", STATIC_W8A8, engine=engine)], nets.source("lenet"), tmp_path)
    assert "lenet_static_w8a8.torchscript: chooses the class of its PyTorch reference on only" in result.failure
    assert result.failure.endswith(advice)
    assert list(tmp_path.iterdir()) == []


class Clamp(nn.Module):
    """No module of torch's."""

    def forward(self, x):
        return torch.clamp(x, -0.5, 1.5)


@pytest.mark.parametrize("clamp", [nn.ReLU6, lambda: nn.Hardtanh(-1.0, 2.0), nn.Hardsigmoid, Clamp, nn.PReLU])
def test_what_stands_between_convolutions_computes_what_the_simulation_does(clamp, monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), clamp(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    arguments, images = ModelArguments(num_classes=4), nets.images(32)
    graph = fold(model, arguments)
    script, simulation = torchscript.quantize(graph, arguments, [images], torchscript.DEFAULT_ENGINE)
    monkeypatch.setattr(torch.backends.quantized, "engine", torchscript.DEFAULT_ENGINE)
    loaded = torch.jit.load(io.BytesIO(torchscript.convert(script, arguments)))
    expected = predictor(simulation)(images)
    logits = loaded(to_input(torch.from_numpy(images))).numpy()
    assert np.abs(logits - expected).max() <= 0.05 * np.abs(expected).max()


def test_a_float_file_takes_any_batch_and_computes_the_same():
    module = nets.untrained("depth_res")
    content = torchscript.convert(fold(module), nets.source("depth_res").arguments)
    loaded = torch.jit.load(io.BytesIO(content))
    expected = predictor(module)(nets.images(5))
    for count in (1, 5):
        logits = loaded(to_input(torch.from_numpy(nets.images(5)[:count]))).numpy()
        assert np.abs(logits - expected[:count]).max() <= 1e-4


def test_an_unknown_engine_is_refused_with_the_list():
    with pytest.raises(UnknownNameError, match="unknown quantized engine 'qnnpak'; did you mean 'qnnpack'"):
        torchscript.check_engine("qnnpak")
    with pytest.raises(UnknownNameError, match="unknown quantized engine 'none'"):
        torchscript.check_engine("none")


def test_an_engine_is_put_back_also_after_a_failure():
    before = torch.backends.quantized.engine
    source = nets.source("lenet")

    def broken():
        raise ValueError("no images")
        yield

    with pytest.raises(Exception, match="no images"):
        torchscript.quantize(fold(source.model), source.arguments, broken(), torchscript.DEFAULT_ENGINE)
    assert torch.backends.quantized.engine == before
