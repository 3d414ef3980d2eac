"""The choice of layers that keep 8 bits, and nets that compute the same with badly scaled weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.calibration import rescaled
from benchmarks.committed import Row
from benchmarks.low_bits import KEPT, measure
from edgecnn.quantize.fold import fold
from tests import nets


def test_each_choice_costs_its_bytes_and_all_8_bits_lose_least() -> None:
    rows = {row["kept"]: row for row in measure("lenet", "digits", images=200)}
    assert tuple(rows) == KEPT
    bits4, bits8 = rows["no layer"], rows["all layers"]
    assert bits8["bytes"] == 2 * bits4["bytes"]
    assert rows["first, last"]["bytes"] - bits4["bytes"] == (450 + 840) // 2 + rest(rows)
    assert all(row["sqnr"] < bits8["sqnr"] for row in rows.values() if row is not bits8)


def rest(rows: dict[str, Row]) -> Any:
    """The paired columns of the first convolution have zeros besides the weights."""
    return rows["first"]["bytes"] - rows["no layer"]["bytes"] - 450 // 2


def test_a_rescaled_net_computes_the_same_with_other_weights() -> None:
    model = nets.untrained("depthwise")
    x = nets.inputs(2, 3, 32, 32)
    other = rescaled(model, 1.0)
    nets.assert_close(other(x), model(x), 1e-4)
    weights = [each.get_parameter("conv2.point.weight").detach().numpy() for each in (fold(model), other)]
    sizes = np.log(np.abs(weights[1]).max((1, 2, 3)) / np.abs(weights[0]).max((1, 2, 3)))
    assert sizes.std() > 0.4
    assert np.allclose(rescaled(model, 0.0).get_parameter("conv2.point.weight").detach(), weights[0])
