"""What is read of a machine, from folders that look like a Pi 4, a Pi 5 and a virtual machine, and from this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecnn.measure.machine import FEATURES, current_cpu, read_machine, read_mhz, read_state
from tests.measure import fake_machines
from tests.measure.fake_machines import pi4, pi5, virtual_machine, write


def test_a_pi_4_has_no_dot_product(tmp_path: Path) -> None:
    machine = read_machine(pi4(tmp_path))
    assert machine.board == "Raspberry Pi 4 Model B Rev 1.5"
    assert (machine.cpu, machine.cores, machine.features, machine.virtual) == ("Cortex-A72", 4, (), False)
    assert (machine.system, machine.kernel) == ("Debian GNU/Linux 13 (trixie)", "6.12.25+rpt-rpi-v8")
    assert machine.memory_bytes == 3884376 * 1024


def test_a_pi_5_and_its_state(tmp_path: Path) -> None:
    root = pi5(tmp_path)
    machine, state = read_machine(root), read_state(root)
    assert (machine.cpu, machine.features) == ("Cortex-A76", ("asimddp",))
    assert (state.governor, state.mhz, state.celsius, state.throttled) == ("ondemand", 2400, 52, 0)
    assert state.throttle_events is None
    ticks = os.sysconf("SC_CLK_TCK")
    assert (state.busy, state.stolen) == ((100 + 200 + 300 + 60 + 70) / ticks, 0)
    assert state.own > 0


def test_a_virtual_machine_tells_little(tmp_path: Path) -> None:
    root = virtual_machine(tmp_path)
    machine, state = read_machine(root), read_state(root)
    assert (machine.board, machine.cpu) == ("QEMU Standard PC", "Intel(R) Xeon(R) Processor")
    assert machine.features == ("avx2", "avx_vnni", "avx512_vnni", "amx_int8")
    assert (machine.cores, machine.virtual) == (2, True)
    assert (state.governor, state.celsius, state.throttled) == (None, None, None)
    assert (state.mhz, read_mhz(root, cpu=1), read_mhz(root, cpu=2)) == (2599.990, 2599.991, None)
    ticks = os.sysconf("SC_CLK_TCK")
    assert (state.busy, state.stolen) == (1750 / ticks, 250 / ticks)


def test_two_kinds_of_cores_are_both_named(tmp_path: Path) -> None:
    parts = ["0xd05", "0xd0b", "0xfff"]
    cores = "".join(f"processor : {number}\nCPU part : {part}\n" for number, part in enumerate(parts))
    machine = read_machine(write(tmp_path, {"proc/cpuinfo": cores}))
    assert (machine.cpu, machine.cores) == ("Cortex-A55 + Cortex-A76 + ARM part 0xfff", 3)


@pytest.mark.parametrize(("answer", "flags"), [("0x50005", 0x50005), ("0x0", 0), ("soon", None)])
def test_throttle_flags(tmp_path: Path, answer: str, flags: int | None) -> None:
    fake_machines.firmware(tmp_path, answer)
    assert read_state(tmp_path).throttled == flags


def test_a_vcgencmd_that_cannot_run_tells_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"opt/vc/bin/vcgencmd": "no program"})
    assert read_state(tmp_path).throttled is None


def test_x86_throttling_is_summed_and_the_best_sensor_taken(tmp_path: Path) -> None:
    folder = "sys/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
    write(tmp_path, {folder.format(cpu, kind): f"{cpu + 2}\n" for cpu in range(2) for kind in ("core", "package")})
    zones = {0: ("acpitz", 27800), 1: ("x86_pkg_temp", 61000)}
    for number, (kind, heat) in zones.items():
        zone = f"sys/class/thermal/thermal_zone{number}"
        write(tmp_path, {f"{zone}/type": kind, f"{zone}/temp": str(heat)})
    state = read_state(tmp_path)
    assert (state.throttle_events, state.celsius) == (10, 61)


def test_nothing_at_all_is_still_a_machine(tmp_path: Path) -> None:
    machine, state = read_machine(tmp_path), read_state(tmp_path)
    assert (machine.board, machine.memory_bytes, machine.features) == (None, None, ())
    assert machine.cores >= 1
    assert (state.mhz, state.celsius, state.busy) == (None, None, 0)


def test_this_machine() -> None:
    machine, state, later = read_machine(), read_state(), read_state()
    assert set(machine.features) <= set(FEATURES)
    assert machine.cores >= 1 and machine.memory_bytes
    assert later.at >= state.at and later.busy >= state.busy > 0
    assert 0 <= current_cpu() < (os.cpu_count() or 1)
