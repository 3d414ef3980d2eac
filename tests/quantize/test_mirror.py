"""Graphs that look at each image and at its mirror image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.cost import macs, parameters
from edgecnn.models.mirrored import Mirrored
from edgecnn.models.normalization import attach
from edgecnn.quantize import passes
from edgecnn.quantize.fold import fold
from edgecnn.quantize.graph import module_of
from edgecnn.quantize.mirror import FIRST, LAST
from edgecnn.quantize.qdq import insert_quantizers
from edgecnn.quantize.simulate import ActivationQuantizer
from edgecnn.quantize.trace import tracer_of
from tests import nets, own_nets

ARGUMENTS = ModelArguments(num_classes=4)


def same(model: nn.Module, arguments: ModelArguments = ARGUMENTS) -> None:
    """The folded graph, rewritten by all passes, gives the mean of the network's own answers, whatever the batch."""
    graph_module = passes.apply(fold(Mirrored(model).eval(), arguments), passes.PASSES, arguments)
    x = nets.inputs(5, arguments.in_channels, *arguments.image_size)
    with torch.no_grad():
        expected = torch.stack([model(x), model(torch.from_numpy(x.numpy()[..., ::-1].copy()))]).mean(0)
        assert (expected - model(x)).abs().max() > 0.01 * expected.abs().max()
        nets.assert_close(graph_module(x), expected)
        nets.assert_close(graph_module(x[2:3]), expected[2:3])


@pytest.mark.parametrize("kind", [own_nets.Same, own_nets.Mixed])
def test_it_gives_the_mean_of_both(kind: type[nn.Module]) -> None:
    model = own_nets.build(kind)
    same(model)
    names = {str(node.target) for node in fold(model, ARGUMENTS).graph.nodes if node.op == "call_module"}
    twice = fold(Mirrored(model).eval(), ARGUMENTS)
    assert {str(node.target) for node in twice.graph.nodes if node.op == "call_module"} == names | {FIRST, LAST}
    assert tracer_of(twice) == ("torch.export" if kind is own_nets.Same else "torch.fx")


def test_the_normalization_of_the_network_comes_after_the_mirror_image() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 8 * 6, 4))
    attach(model, Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    same(nets.with_statistics(model), replace(ARGUMENTS, image_size=(8, 6)))


def test_mirror_images_are_on_the_grid_of_the_images_and_the_mean_is_on_its_own() -> None:
    graph_module = insert_quantizers(fold(Mirrored(own_nets.build(own_nets.Mixed)).eval(), ARGUMENTS))
    grid = {}
    for node in graph_module.graph.nodes:
        if isinstance(module_of(graph_module, node), ActivationQuantizer):
            grid[str(node.args[0].target)] = node.target
    assert grid[FIRST] == grid["x"]
    assert grid[LAST] not in {owner for name, owner in grid.items() if name != LAST}


def test_it_costs_twice_the_work_and_no_weights() -> None:
    model = own_nets.build(own_nets.Mixed)
    costs = [(macs(each, ARGUMENTS), parameters(each)) for each in (model, Mirrored(model))]
    assert costs[1] == (2 * costs[0][0], costs[0][1])
