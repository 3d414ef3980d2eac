"""A deeper network begins with the answers of the one it is made from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn import models
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.deepen import blocks_kept, deepened, design_of
from edgecnn.models.design import Design

ARGUMENTS = ModelArguments(4, 3, (16, 16))
BEGUN = "design:c8-r12s2-b8e2s2-r8d2"


def used(name: str) -> nn.Module:
    """A network whose BatchNorms are no longer as they begin."""
    torch.manual_seed(5)
    network = models.create(name, ARGUMENTS)
    with torch.no_grad():
        for each in network.modules():
            if isinstance(each, nn.BatchNorm2d):
                for value in (each.weight, each.bias, each.running_mean, each.running_var):
                    assert value is not None
                    value.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("deeper", "new"),
    [
        ("design:c8-r8-r12s2-b8e2s2-r8d2", {"r2"}),
        ("design:c8-r12s2n3-b8e2s2n2-r8d2n2", {"r2_2", "r2_3", "b3_2", "r4_2"}),
        ("design:c8-b8k5e1-r12s2-b8e2s2-r8d2-b8", {"b2", "b6"}),
    ],
)
def test_a_deeper_network_answers_as_before_and_its_new_blocks_can_learn(deeper: str, new: set[str]) -> None:
    network, fresh = used(BEGUN), models.create(deeper, ARGUMENTS)
    kept = blocks_kept(Design.parse(BEGUN), Design.parse(deeper), 3)
    assert list(kept) == ["c1", "r2", "b3", "r4"]
    assert {name for name, _ in fresh.named_children()} - set(kept.values()) == new | {"pool", "flatten", "fc"}
    fresh.load_state_dict(deepened(network, fresh, kept))
    images = torch.randn(3, 3, 16, 16)
    answers = fresh.eval()(images)
    assert torch.allclose(answers, network(images), atol=1e-5)
    answers.square().sum().backward()
    for name in new:
        block = fresh.get_submodule(name)
        last = [each for each in block.modules() if isinstance(each, nn.BatchNorm2d)][-1]
        assert last.weight.grad is not None and last.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "deeper",
    [
        "design:c8-r12s2-b8e2s2",  # less
        "design:c8-r12s2-b8e2s2-r8",  # another dilation
        "design:c8-r12s2-r12d4-b8e2s2-r8d2",  # b8 would be dilated
        "design:c8-c8-r12s2-b8e2s2-r8d2",  # a block that is added to nothing
        "design:c8-r8s2-r12s2-b8e2s2-r8d2",  # smaller images
        "design:c8-r12s2-b8e2s2-r8d2-r16d2",  # more channels at the end
    ],
)
def test_what_is_no_deeper_network_is_refused(deeper: str) -> None:
    with pytest.raises(UsageError, match=f"'{deeper}' is not '{BEGUN}' with more blocks"):
        blocks_kept(Design.parse(BEGUN), Design.parse(deeper), 3)


def test_edgecnns_family_has_designs() -> None:
    assert {name for name in models.names() if design_of(name)} == {"edge_s", "edge_m", "edge_l"}
    assert str(design_of(BEGUN)) == BEGUN
