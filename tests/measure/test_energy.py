"""Energy from counters and from the Pi 5's power chip, and the reasons for having none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecnn.measure.energy import PmicMeter, RaplMeter, find_meter, rail_watts
from tests.measure.fake_machines import PMIC_ANSWER, pi4, pi5, virtual_machine, write

RAILS = 3.7 * 0.1 + 3.3 * 0.2 + 0.75 * 2  # EXT5V has no current


def rapl(root: Path, *values: int, limit: int = 999_999_999) -> Path:
    """Packages that counted ``values``, a part of each, and the platform, which they are parts of."""
    zones = {f"{number}": (f"package-{number}", value) for number, value in enumerate(values)}
    zones |= {f"{number}:0": ("core", 5) for number in range(len(values))}
    zones[f"{len(values)}"] = ("psys", 2 * sum(values))
    for number, (name, value) in zones.items():
        folder = f"sys/class/powercap/intel-rapl:{number}"
        write(root, {f"{folder}/name": f"{name}\n", f"{folder}/energy_uj": f"{value}\n"})
        write(root, {f"{folder}/max_energy_range_uj": f"{limit}\n"})
    return root


def test_rapl_sums_packages_but_not_their_parts_or_the_platform(tmp_path: Path) -> None:
    meter = find_meter(rapl(tmp_path, 1_000_000, 2_000_000))
    assert isinstance(meter, RaplMeter)
    assert not meter.estimate
    meter.begin()
    rapl(tmp_path, 3_000_000, 2_500_000)
    assert meter.joules() == 2.5


def test_rapl_counters_wrap(tmp_path: Path) -> None:
    meter = find_meter(rapl(tmp_path, 900, limit=999))
    assert isinstance(meter, RaplMeter)
    rapl(tmp_path, 100, limit=999)
    assert meter.joules() == 200e-6


def test_rapl_that_fails_between_two_looks_gives_nothing(tmp_path: Path) -> None:
    meter = find_meter(rapl(tmp_path, 1_000_000))
    assert isinstance(meter, RaplMeter)
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    meter.begin()
    counter.unlink()
    assert meter.joules() is None
    meter.begin()
    counter.write_text("5\n")
    assert meter.joules() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_rapl_that_only_root_may_read(tmp_path: Path) -> None:
    (rapl(tmp_path, 1) / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0)
    assert "only root may read" in str(find_meter(tmp_path))


def test_rapl_that_is_damaged(tmp_path: Path) -> None:
    rapl(tmp_path, 1)
    write(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": "\n"})
    assert "cannot be read" in str(find_meter(tmp_path))


def test_the_power_chip_of_a_pi_5_is_an_estimate(tmp_path: Path) -> None:
    found = find_meter(pi5(tmp_path))
    assert isinstance(found, PmicMeter) and found.estimate
    answers = iter([PMIC_ANSWER, None, PMIC_ANSWER.replace("2.00000000A", "4.00000000A")])
    times = iter([10.0, 14.0])
    meter = PmicMeter(lambda: next(answers), lambda: next(times))
    meter.begin()
    for _ in range(3):
        meter.poll()
    watts = [1.1451 * RAILS + 0.5879, 1.1451 * (RAILS + 1.5) + 0.5879]
    assert meter.joules() == pytest.approx(4 * sum(watts) / 2)
    meter = PmicMeter(lambda: None)
    meter.begin()
    meter.poll()
    assert meter.joules() is None


def test_rail_watts() -> None:
    assert rail_watts(PMIC_ANSWER) == pytest.approx(RAILS)
    assert rail_watts('error=1 error_msg="Command not registered"') is None


def test_where_there_is_none_the_reason_is_said(tmp_path: Path) -> None:
    assert find_meter(pi4(tmp_path / "pi")) == "this board has no current sensing that it shows"
    assert "no RAPL counters" in str(find_meter(virtual_machine(tmp_path / "vm")))
