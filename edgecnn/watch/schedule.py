"""A steady rate: the moments at which to look are fixed at the start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Schedule:
    """``rate`` moments a second, counted from the first, so that what each takes adds up to no delay.

    Moments that went by while something took too long are left out, not made up for. ``clock`` gives seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._start: float | None = None
        self._moment = 0

    def delay(self) -> float:
        """Seconds from now to the next moment; 0 when it is now."""
        now = self._clock()
        if self._start is None:
            self._start = now
            return 0.0
        passed = (now - self._start) * self._rate
        self._moment = max(self._moment + 1, math.floor(passed))
        return max(0.0, (self._moment - passed) / self._rate)
