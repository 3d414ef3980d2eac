"""Networks written as one line."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgecnn import models
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.design import Design
from edgecnn.models.edge import DESIGNS

LINE = "design:c16k5-r24s2n2-c48s2d2-b48k5e3n2"


@pytest.mark.parametrize("line", [LINE, *DESIGNS.values()])
def test_a_line_is_read_and_written_and_built_for_any_image(line: str) -> None:
    assert str(Design.parse(line)) == line
    net = models.create(line, ModelArguments(7, 1, (17, 24))).eval()
    assert net(torch.zeros(2, 1, 17, 24)).shape == (2, 7)


def test_the_name_of_a_file_has_no_colon() -> None:
    assert models.short_name(LINE) == LINE.replace(":", "_")


@pytest.mark.parametrize(
    "line",
    ["design:c16-", "design:x16", "design:c0", "design:c16k4", "design:r16k5", "design:c16e3", "design:b16s3",
     "design:c16d3", "design:c16n17", "design:" + "-".join(["c16"] * 200)],
)  # fmt: skip
def test_a_line_that_is_no_network_is_one_line(line: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]+$"):
        models.check(line)


@pytest.mark.parametrize(
    ("stride", "dilation"),
    [
        ("r24s2n2", "r24d2n2"),
        ("c24s2n2", "c24d2n2"),
        ("b24s2n2-r32", "b24d2n2-r32d2"),
        ("c8s2-b24s2n2", "c8d2-b24d4n2"),
    ],
)
def test_dilation_in_place_of_a_stride_computes_every_place_with_the_same_weights(stride: str, dilation: str) -> None:
    """Away from the edges, where both see the zeros around an image in other places."""
    arguments = ModelArguments(10, 3, (64, 64))
    strided, dilated = (models.create(f"design:c8-{stages}", arguments).eval() for stages in (stride, dilation))
    dilated.load_state_dict(strided.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before, after = (nn.Sequential(*[*net.children()][:-3])(images) for net in (strided, dilated))  # not pool to fc
    step = 64 // before.shape[2]
    middle = slice(before.shape[2] // 2 - 2, before.shape[2] // 2 + 2)
    assert after.shape[2:] == (64, 64)
    torch.testing.assert_close(after[:, :, ::step, ::step][:, :, middle, middle], before[:, :, middle, middle])
