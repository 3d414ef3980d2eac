"""Folders that look like /proc and /sys of three machines, with a ``vcgencmd`` where the machine has one."""

from __future__ import annotations

from pathlib import Path

PMIC_ANSWER = """\
 3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
   VDD_CORE_A current(7)=2.00000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
   VDD_CORE_V volt(15)=0.75000000V
     EXT5V_V volt(24)=5.10000000V
"""


def write(root: Path, files: dict[str, str]) -> Path:
    """Write the files, by their names below ``root``."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def firmware(root: Path, throttled: str = "0x0", pmic: str | None = None) -> None:
    """Write a ``vcgencmd`` that answers so; without ``pmic`` it fails on pmic_read_adc, as on a Pi 4."""
    write(root, {"pmic.txt": pmic or ""})
    power = f"cat {root}/pmic.txt" if pmic else "echo error; exit 1"
    script = f"#!/bin/sh\ncase $1 in\nget_throttled) echo throttled={throttled};;\npmic_read_adc) {power};;\nesac\n"
    write(root, {"usr/bin/vcgencmd": script})
    (root / "usr/bin/vcgencmd").chmod(0o755)


def raspberry_pi(root: Path, model: str, part: str, features: str, khz: int, millidegrees: int) -> Path:
    """What every Raspberry Pi with four cores has."""
    core = f"processor\t: {{}}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n"
    return write(root, {
        "proc/device-tree/model": f"{model}\0",
        "proc/cpuinfo": "\n".join(core.format(number) for number in range(4)) + "\nRevision\t: c03115\n",
        "proc/meminfo": "MemTotal:        3884376 kB\nMemFree:         1 kB\n",
        "proc/stat": "cpu  100 200 300 9999 50 60 70 0 0 0\ncpu0 1 2 3 4\n",
        "proc/sys/kernel/osrelease": "6.12.25+rpt-rpi-v8\n",
        "etc/os-release": 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": f"{khz}\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": f"{millidegrees}\n",
    })  # fmt: skip


def pi4(root: Path) -> Path:
    """A Raspberry Pi 4: Cortex-A72, no dot product, no current sensing."""
    firmware(root)
    features = "fp asimd evtstrm crc32 cpuid"
    return raspberry_pi(root, "Raspberry Pi 4 Model B Rev 1.5", "0xd08", features, 1800000, 48199)


def pi5(root: Path) -> Path:
    """A Raspberry Pi 5: Cortex-A76, dot product, a power chip."""
    firmware(root, pmic=PMIC_ANSWER)
    features = "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
    return raspberry_pi(root, "Raspberry Pi 5 Model B Rev 1.0", "0xd0b", features, 2400000, 52000)


def virtual_machine(root: Path) -> Path:
    """An x86 server's virtual machine: no sensors, no governor, two CPUs."""
    flags = "fpu sse2 avx2 hypervisor avx_vnni avx512f avx512_vnni amx_tile amx_int8"
    core = "processor\t: {}\nmodel name\t: Intel(R) Xeon(R) Processor\ncpu MHz\t\t: 2599.99{}\nflags\t\t: {}\n"
    return write(root, {
        "proc/cpuinfo": "\n".join(core.format(number, number, flags) for number in range(2)),
        "proc/meminfo": "MemTotal:       24664528 kB\n",
        "proc/stat": "cpu  1000 0 500 9999 0 0 0 250 0 0\n",
        "proc/sys/kernel/osrelease": "6.18.44\n",
        "etc/os-release": "PRETTY_NAME='Odd'\n",
        "sys/class/dmi/id/sys_vendor": "QEMU\n",
        "sys/class/dmi/id/product_name": "Standard PC\n",
    })  # fmt: skip
