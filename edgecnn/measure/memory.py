"""Peak memory of this process, as Linux counts it: resident pages, shared ones included."""

from __future__ import annotations

import re
from pathlib import Path

OWN = Path("/proc/self")


def start_over(own: Path = OWN) -> int | None:
    """Forget the peak so far and return the bytes resident now; None where the kernel does not let one."""
    try:
        (own / "clear_refs").write_text("5")  # see proc(5): resets VmHWM to the present VmRSS
    except OSError:
        return None
    return _bytes(own, "VmRSS")


def peak(own: Path = OWN) -> int | None:
    """The most bytes that were resident at once, since the start or the last ``start_over``; None if not told."""
    return _bytes(own, "VmHWM")


def _bytes(own: Path, field: str) -> int | None:
    try:
        match = re.search(rf"^{field}:\s+(\d+) kB", (own / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None
