"""How small a network is to become: ``macs:0.5``, ``bytes:0.5`` or ``latency:0.5``, shares of what it is."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.errors import UnknownNameError, UsageError

MACS, BYTES, LATENCY = "macs", "bytes", "latency"
KINDS = (MACS, BYTES, LATENCY)


@dataclass(frozen=True)
class Target:
    """At most ``share`` (0 to 1, both excluded) of what the unpruned network has of ``kind``.

    ``macs`` are those of the network; ``bytes`` and ``latency`` are of its static_w8a8 TFLite file.
    """

    kind: str
    share: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """``KIND:SHARE``. Raises UnknownNameError or UsageError for anything else."""
        kind, colon, number = text.partition(":")
        if not colon:
            raise UsageError(f"target '{text}' says not how much (valid: {', '.join(f'{each}:0.5' for each in KINDS)})")
        if kind not in KINDS:
            raise UnknownNameError("target", kind, KINDS)
        try:
            share = float(number)
        except ValueError as error:
            raise UsageError(f"target '{text}': '{number}' is no number; give a share such as {kind}:0.5") from error
        if not 0 < share < 1:
            raise UsageError(f"target '{text}': a share is above 0 and below 1, such as {kind}:0.5")
        return cls(kind, share)

    @property
    def measured(self) -> bool:
        """True if only a file can tell whether it is met."""
        return self.kind != MACS

    def __str__(self) -> str:
        return f"{self.kind}:{self.share:g}"
