"""Energy, where the machine can tell: Intel's and AMD's RAPL counters, or the Raspberry Pi 5's power chip.

Both meter the whole package or board, idle power included, so a figure is only as good as the machine was quiet.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgecnn.measure.machine import ROOT, vcgencmd

RAPL = "sys/class/powercap"
# One board's wall power against the sum over the rails of its power chip; another board's will differ a little.
PMIC_SLOPE, PMIC_OFFSET = 1.1451, 0.5879


class Meter(Protocol):
    """Measures the energy between ``begin`` and ``joules``; ``poll`` is called every tenth of a second between."""

    source: str
    estimate: bool

    def begin(self) -> None:
        """Start a span."""

    def poll(self) -> None:
        """Look once, within a span."""

    def joules(self) -> float | None:
        """Energy since ``begin``; None when it could not be read."""


def find_meter(root: Path = ROOT) -> Meter | str:
    """The machine's meter, or the reason why its energy is unavailable."""
    packages = [path for path in sorted((root / RAPL).glob("intel-rapl:*")) if _zone(path).startswith("package")]
    if packages:
        try:
            return RaplMeter(packages)
        except PermissionError:
            return f"{packages[0]}/energy_uj is there, but only root may read it"
        except (OSError, ValueError) as error:
            return f"the RAPL counters cannot be read ({error})"
    answer = vcgencmd(root, "pmic_read_adc")
    if answer is not None and rail_watts(answer) is not None:
        return PmicMeter(lambda: vcgencmd(root, "pmic_read_adc"))
    if answer is not None or (root / "proc/device-tree/model").exists():
        return "this board has no current sensing that it shows"
    return "no RAPL counters here (a virtual machine, or a CPU or kernel without them)"


def _zone(path: Path) -> str:
    """What a counter is of: package-0, core, dram, or psys, which is the whole platform with the packages in it."""
    try:
        return (path / "name").read_text().strip()
    except OSError:
        return ""


class RaplMeter(Meter):
    """The energy counters of all CPU packages; each counts microjoules and wraps at a limit of its own."""

    source = "RAPL, whole CPU package, idle power included"
    estimate = False

    def __init__(self, packages: list[Path]) -> None:
        self._counters = [path / "energy_uj" for path in packages]
        self._limits = [int((path / "max_energy_range_uj").read_text()) for path in packages]
        self._start: list[int] | None = self._read()

    def begin(self) -> None:
        self._start = self._tried()

    def poll(self) -> None:
        """Nothing to do: a counter counts by itself."""

    def joules(self) -> float | None:
        now = self._tried()
        if self._start is None or now is None:
            return None
        spans = zip(now, self._start, self._limits, strict=True)
        return sum((end - start) % (limit + 1) for end, start, limit in spans) / 1e6

    def _tried(self) -> list[int] | None:
        """The counters; None where the system does not give them any more, which no bench is to be lost for."""
        try:
            return self._read()
        except (OSError, ValueError):
            return None

    def _read(self) -> list[int]:
        return [int(path.read_text()) for path in self._counters]


class PmicMeter(Meter):
    """Mean power of the looks, times the time between ``begin`` and ``joules``."""

    source = "Raspberry Pi 5 power chip, whole board, idle power included"
    estimate = True

    def __init__(self, ask: Callable[[], str | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock

    def begin(self) -> None:
        self._start = self._clock()
        self._watts: list[float] = []

    def poll(self) -> None:
        watts = rail_watts(self._ask() or "")
        if watts is not None:
            self._watts.append(PMIC_SLOPE * watts + PMIC_OFFSET)

    def joules(self) -> float | None:
        if not self._watts:
            return None
        return sum(self._watts) / len(self._watts) * (self._clock() - self._start)


def rail_watts(answer: str) -> float | None:
    """Sum of volts times amperes over the rails of ``vcgencmd pmic_read_adc`` that have both; None if none has."""
    values = {name: float(value) for name, value in re.findall(r"^\s*(\w+_[AV]) \w+\(\d+\)=([\d.]+)[AV]", answer, re.M)}
    rails = [name[:-2] for name in values if name.endswith("_A") and f"{name[:-2]}_V" in values]
    return sum(values[f"{rail}_A"] * values[f"{rail}_V"] for rail in rails) if rails else None
