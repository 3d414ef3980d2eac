"""What is heard of a bench while it runs: where it is, and for how long it will go on."""

from __future__ import annotations

from collections.abc import Callable

EVERY = 10.0  # seconds between two lines, unless something has happened
WORTH_SAYING = 10.0  # seconds left


class Pace:
    """Tells ``say`` of a bench of so many ``turns``, all alike, after which comes what takes ``later`` seconds.

    Once the turns are over, ``later`` is for the caller to bring down.
    """

    def __init__(self, turns: int, later: float, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self.later = later
        self._turns, self._say, self._clock = turns, say, clock
        self._done = 0
        self._begun = self._said = clock()

    def turn(self) -> None:
        """A turn is over."""
        self._done += 1

    def tell(self, line: str, news: bool = False) -> None:
        """Say where the bench is, with the time left if that is long; only ``news`` is said at any moment."""
        now = self._clock()
        if news or now - self._said >= EVERY:
            self._said = now
            self._say(line + self._left(now))

    def _left(self, now: float) -> str:
        left = self.later
        if self._done < self._turns:
            if self._done == 0:
                return ""
            left += (now - self._begun) / self._done * (self._turns - self._done)
        if left < WORTH_SAYING:
            return ""
        return f", {left:.0f} s left" if left < 120 else f", {left / 60:.0f} min left"
