"""The table of layers that stay float32."""

from __future__ import annotations

from typing import Any

from benchmarks.sensitivity import text


def row(model: str, floats: list[str], **more: Any) -> dict[str, Any]:
    harms = [{"layers": [name]} for name in ("conv1", "conv2", "fc")]
    cost = {"mixed": {"ratio": 1.25}} if floats else None
    result = {
        "bound_points": 0.3, "within": True, "float_layers": floats, "ranking": harms, "bytes": 300, "cost": cost,
        "proven": {"drop_points": 0.1, "interval_points": [-0.2, 0.4]},
        "int8_throughout": {"drop_points": 2.0, "interval_points": [1.5, 2.5], "bytes": 200},
    } | more  # fmt: skip
    return {"model": model, "bound": 0.3, "result": result}


def test_a_line_says_what_stayed_float32_what_that_saves_and_what_it_costs() -> None:
    lines = text([row("lenet", ["conv2"])]).splitlines()
    assert "  ".join(lines[2].split()) == (
        "lenet  0.3  +2.00  (+1.50  to  +2.50)  1  of  3  +0.10  (-0.20  to  +0.40)  1.50  times  1.25  times"
    )
    assert lines[-1] == "lenet, 0.3: conv2 in float32"


def test_a_bound_that_was_not_kept_is_marked_and_where_nothing_stayed_nothing_is_named() -> None:
    shown = text([row("lenet", [], within=False, bytes=200)])
    assert "0.3, not kept" in shown
    assert "0 of 3" in shown and "1.00 times  1.00 times" in shown
    assert "in float32" not in shown
