"""What a service manager is told over $NOTIFY_SOCKET: sd_notify(3), in the standard library.

A datagram of lines ``NAME=value``. Without the variable nothing is sent; a manager that does not listen is no reason
to stop serving, so errors of the socket are dropped.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


def notify(*lines: str) -> None:
    """Send the lines in one datagram, if there is a service manager."""
    address = os.environ.get(SOCKET, "")
    if address[:1] not in ("/", "@"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.connect("\0" + address[1:] if address[0] == "@" else address)
        line.send("\n".join(lines).encode(errors="replace"))


def reloading() -> None:
    """Say that the configuration is read again; READY=1 ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_interval() -> float | None:
    """Seconds between two WATCHDOG=1, half of what the service manager waits for; None where it does not."""
    wanted = os.environ.get(WATCHDOG, "")
    if not wanted.isdecimal() or int(wanted) == 0 or os.environ.get(WATCHDOG_PID, str(os.getpid())) != str(os.getpid()):
        return None
    return int(wanted) / 2e6


def environment_of_children() -> dict[str, str]:
    """The environment without what concerns only this process."""
    return {name: value for name, value in os.environ.items() if name not in (SOCKET, WATCHDOG, WATCHDOG_PID)}
