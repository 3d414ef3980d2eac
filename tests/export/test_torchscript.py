"""TorchScript, float and with the int8 engines."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from edgecnn.data.augment import to_input
from edgecnn.errors import UnknownNameError
from edgecnn.evaluate import predictor
from edgecnn.export import torchscript
from edgecnn.export.drafts import Order
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
    code = str(torch.jit.load(str(tmp_path / result.file)).inlined_graph)
    assert "quantized::conv2d" in code and "quantized::linear" in code
    assert "aten::conv2d" not in code and "aten::linear" not in code


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
