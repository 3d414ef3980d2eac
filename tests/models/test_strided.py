"""Gradients of strided 1x1 convolutions that few channels go into; where they are wrong, the process may die of it."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import edgecnn
from edgecnn.models.strided import right_gradients
from tests.tools import tool

# What a network's shortcuts learn in some steps: the gradients of their weights, against those in float64.
CHILD = """
import copy, sys
import torch
from torch import nn
from edgecnn.models.strided import right_gradients
channels, compiled = int(sys.argv[1]), sys.argv[2] == "compiled"
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(channels, 8, 1, 2), nn.ReLU(), nn.Conv2d(8, 16, 1, 2))
net = net.to(memory_format=torch.channels_last)
exact = copy.deepcopy(net).double()
with right_gradients(net):
    runner = torch.compile(net) if compiled else net
    for step in range(20):
        image = torch.randn(32, channels, 64, 64).contiguous(memory_format=torch.channels_last)
        for model, seen in ((runner, image), (exact, image.double())):
            model.zero_grad()
            model(seen).square().mean().backward()
        for found, wanted in zip(net.parameters(), exact.parameters(), strict=True):
            torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=1e-3, atol=1e-5)
"""


@pytest.mark.parametrize("channels", [4, 12])
@pytest.mark.parametrize("how", ["eager", "compiled"])
def test_gradients_are_right(channels: int, how: str) -> None:
    if how == "compiled":
        tool("g++")
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(channels), how],
        cwd=Path(edgecnn.__file__).parent.parent, env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


def test_a_network_gives_the_same_and_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 1, (2, 3), padding="valid"), nn.Conv2d(8, 8, 3, 2), nn.Conv2d(8, 8, 1)).eval()
    image = torch.randn(2, 4, 31, 31)
    whole = net(image)
    with right_gradients(net):
        assert torch.allclose(net(image), whole, atol=1e-6)
    assert all("_conv_forward" not in vars(layer) for layer in net)
    copy.deepcopy(net)(image)
