"""Networks written as one line."""

from __future__ import annotations

import pytest
import torch

from edgecnn import models
from edgecnn.errors import UsageError
from edgecnn.models import ModelArguments
from edgecnn.models.design import Design
from edgecnn.models.edge import DESIGNS

LINE = "design:c16k5-r24s2n2-c48s2-b48k5e3n2"


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
     "design:c16n17", "design:" + "-".join(["c16"] * 200)],
)  # fmt: skip
def test_a_line_that_is_no_network_is_one_line(line: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]+$"):
        models.check(line)
