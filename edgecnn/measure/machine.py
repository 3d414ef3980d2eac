"""What a measurement ran on: the machine, which stays, and its state, which does not.

Everything is read from files below a root folder, ``/`` unless a test has built another, and from the Raspberry Pi's
``vcgencmd`` where there is one. What a machine does not tell is None.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")

# CPU features that decide how fast int8 is, and what each means.
FEATURES = {
    "asimddp": "SDOT, a dot product of int8: about four times the multiply-adds of an ARM core without it",
    "i8mm": "SMMLA, a matrix product of int8: about twice SDOT",
    "avx2": "int8 products by way of 16 bits",
    "avx_vnni": "a dot product of int8, 256 bits wide",
    "avx512_vnni": "a dot product of int8, 512 bits wide",
    "amx_int8": "tiles of int8; edgecnn withholds them from LiteRT, since small CNNs run slower with them",
}

# Arm Ltd.'s part numbers in /proc/cpuinfo, of the cores that boards have.
ARM_PARTS = {
    "0xc07": "Cortex-A7", "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72", "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd41": "Cortex-A78",
    "0xb76": "ARM1176", "0xd0c": "Neoverse-N1", "0xd40": "Neoverse-V1", "0xd49": "Neoverse-N2", "0xd4f": "Neoverse-V2",
}  # fmt: skip

# Sensors that show a CPU's temperature, best first.
THERMAL_ZONES = ("cpu-thermal", "cpu_thermal", "x86_pkg_temp", "soc-thermal", "soc_thermal", "cpu0-thermal")
VCGENCMD = ("usr/bin/vcgencmd", "opt/vc/bin/vcgencmd")


@dataclass(frozen=True)
class Machine:
    """What stays. ``python`` has its version and ABI: a 64-bit kernel can run a 32-bit Python.

    ``emulated`` is a machine whose instructions another one interprets: no time measured on it means anything.
    """

    board: str | None
    cpu: str
    architecture: str
    cores: int
    features: tuple[str, ...]
    virtual: bool
    system: str
    kernel: str
    python: str
    memory_bytes: int | None
    emulated: bool = False


@dataclass(frozen=True)
class State:
    """What changes. ``throttled`` holds vcgencmd's flags, ``throttle_events`` x86's count of thermal throttling.

    ``at``, and the CPU time of all CPUs that was ``busy`` with anything, ``stolen`` by the hypervisor, and spent by
    this program and its ended children (``own``), are seconds that only mean something by their differences.
    """

    governor: str | None
    mhz: float | None
    celsius: float | None
    throttled: int | None
    throttle_events: int | None
    at: float
    busy: float
    stolen: float
    own: float


def read_machine(root: Path = ROOT) -> Machine:
    """The machine as the files below ``root`` describe it."""
    info = _read(root, "proc/cpuinfo") or ""
    flags = (_field(info, "flags") or _field(info, "Features") or "").split()
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _read(root, "proc/meminfo") or "", re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', _read(root, "etc/os-release") or "", re.MULTILINE)
    return Machine(
        board=_board(root),
        cpu=_cpu(info),
        architecture=platform.machine(),
        cores=len(re.findall(r"^processor\s*:", info, re.MULTILINE)) or os.cpu_count() or 1,
        features=tuple(name for name in FEATURES if name in flags),
        virtual="hypervisor" in flags,
        system=system[1] if system else platform.system(),
        kernel=_read(root, "proc/sys/kernel/osrelease") or platform.release(),
        python=f"{platform.python_version()} {sysconfig.get_config_var('SOABI') or ''}".strip(),
        memory_bytes=int(memory[1]) * 1024 if memory else None,
    )


def read_state(root: Path = ROOT) -> State:
    """The state at this moment; takes some milliseconds on a Raspberry Pi, where it starts ``vcgencmd``."""
    busy, stolen = _cpu_seconds(root)
    return State(
        governor=_read(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        mhz=read_mhz(root),
        celsius=_celsius(root),
        throttled=_throttled(root),
        throttle_events=_throttle_events(root),
        at=time.monotonic(),
        busy=busy,
        stolen=stolen,
        own=sum(_spent(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)),
    )


def read_mhz(root: Path = ROOT, cpu: int = 0) -> float | None:
    """The clock of one CPU in MHz at this moment."""
    scaling = _number(root, f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq")
    if scaling is not None:
        return scaling / 1000
    clocks = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _read(root, "proc/cpuinfo") or "", re.MULTILINE)
    return float(clocks[cpu]) if cpu < len(clocks) else None


def current_cpu(root: Path = ROOT) -> int:
    """The CPU that the calling thread was last seen on; 0 where that is not told."""
    fields = (_read(root, "proc/thread-self/stat") or "").rpartition(")")[2].split()
    return int(fields[36]) if len(fields) > 36 else 0  # field 39 of proc(5), counted from the third


def vcgencmd(root: Path, word: str) -> str | None:
    """What the Raspberry Pi's firmware tool prints for ``word``; None where there is none, or it fails."""
    for name in VCGENCMD:
        if (root / name).is_file():
            try:
                done = subprocess.run([root / name, word], capture_output=True, text=True, timeout=10, check=True)
            except (OSError, subprocess.SubprocessError):
                return None
            return done.stdout
    return None


def _read(root: Path, name: str) -> str | None:
    try:
        return (root / name).read_text("utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def _number(root: Path, name: str) -> float | None:
    text = _read(root, name)
    return float(text) if text and re.fullmatch(r"-?\d+", text) else None


def _field(info: str, name: str) -> str | None:
    match = re.search(rf"^{name}\s*:\s*(.*)$", info, re.MULTILINE)
    return match[1].strip() if match else None


def _board(root: Path) -> str | None:
    model = _read(root, "proc/device-tree/model")
    if model:
        return model
    maker, product = (_read(root, f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return " ".join(part for part in (maker, product) if part) or None


def _cpu(info: str) -> str:
    parts = dict.fromkeys(re.findall(r"^CPU part\s*:\s*(\S+)", info, re.MULTILINE))
    arm = " + ".join(ARM_PARTS.get(part, f"ARM part {part}") for part in parts)
    return arm or _field(info, "model name") or platform.processor() or "unknown"


def _celsius(root: Path) -> float | None:
    zones: dict[str, float] = {}
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind, heat = _read(folder, "type"), _number(folder, "temp")
        if kind and heat is not None:
            zones.setdefault(kind, heat / 1000)
    return next((zones[kind] for kind in THERMAL_ZONES if kind in zones), None)


def _throttled(root: Path) -> int | None:
    match = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)\s*", vcgencmd(root, "get_throttled") or "")
    return int(match[1], 16) if match else None


def _throttle_events(root: Path) -> int | None:
    names = ("package_throttle_count", "core_throttle_count")
    folders = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
    counts = [_number(folder, name) for folder in folders for name in names]
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known else None


def _cpu_seconds(root: Path) -> tuple[float, float]:
    """(busy, stolen) seconds of all CPUs since boot, stolen among the busy, from /proc/stat (see proc(5))."""
    match = re.match(r"cpu ((?:\s*\d+)+)", _read(root, "proc/stat") or "")
    ticks = [int(part) for part in match[1].split()] if match else []
    user, nice, system, _idle, _waiting, irq, softirq, steal = (ticks + [0] * 8)[:8]
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq + steal) / tick, steal / tick


def _spent(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
