"""Where a bench runs: this machine, or the target that ``--target`` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgecnn.errors import UsageError

if TYPE_CHECKING:
    from edgecnn.measure.cases import Order
    from edgecnn.measure.measurement import Session

LOCAL = "local"


def bench_on(target: str, order: Order, say: Callable[[str], None]) -> Session:
    """Carry the order out on the target. Raises UsageError for a target that is none."""
    if target == LOCAL:
        from edgecnn.measure.bench import bench
        from edgecnn.measure.cases import find_cases

        return bench(find_cases(order), order.settings, say=say)
    raise UsageError(f"--target '{target}' is no target (valid: {LOCAL})")
