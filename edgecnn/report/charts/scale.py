"""From values to places along an axis, and the round values that are written there."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Which digits a logarithmic axis may show in each decade, fewest first.
_DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9))


@dataclass(frozen=True)
class Scale:
    """Values ``low`` to ``high`` along the pixels ``start`` to ``end``; a logarithmic one needs ``low`` above 0."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"no {'logarithmic ' if self.log else ''}axis goes from {self.low} to {self.high}")

    def at(self, value: float) -> float:
        """The pixel of a value; values beyond an end lie at that end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> tuple[float, ...]:
        """At most ``most`` round values between the ends, two or more where that is possible."""
        if not self.log or self.high / self.low < 4:
            return linear_ticks(self.low, self.high, most)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        best: tuple[float, ...] = ()
        for digits in _DIGITS:
            values = (digit * 10.0**power for power in range(first, last + 1) for digit in digits)
            found = tuple(value for value in values if self.low <= value <= self.high)
            if len(found) <= most:
                best = found
        if len(best) < 2:  # more decades than ticks
            step = math.ceil((last - first) / max(most - 1, 1))
            best = tuple(10.0**power for power in range(first, last + 1, step) if self.low <= 10.0**power <= self.high)
        return best


def linear_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """At most ``most`` multiples of 1, 2 or 5 times a power of ten, from ``low`` to ``high``; as many as can be."""
    if most < 1:
        raise ValueError(f"most is {most}, but must be at least 1")
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            break
    digits = max(0, -math.floor(math.log10(step)) + 1)
    return tuple(round(number * step, digits) for number in range(first, last + 1))


def widened(low: float, high: float, log: bool, by: float = 0.06, least: float = 1.02) -> tuple[float, float]:
    """The ends moved apart by a share of the way between them; a logarithmic one is ``least`` times as long or more."""
    if log:
        ratio = max((high / low) ** by, (least / (high / low)) ** 0.5)
        return low / ratio, high * ratio
    room = max((high - low) * by, abs(high) * 1e-3, 1e-9)
    return low - room, high + room
