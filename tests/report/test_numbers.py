"""Numbers with units: three digits that count, and the unit that fits."""

from __future__ import annotations

import pytest

from edgecnn.report import numbers


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (numbers.micro(1.234), "1.23 µs"), (numbers.micro(12.61), "12.6 µs"), (numbers.micro(9.996), "10.0 µs"),
        (numbers.micro(99.96), "100 µs"), (numbers.micro(999.6), "1.00 ms"), (numbers.micro(2_500_000), "2.50 s"),
        (numbers.micro(99e9), "99000 s"), (numbers.size(512), "512 B"), (numbers.size(78_024), "78.0 kB"),
        (numbers.size(1_234_567), "1.23 MB"), (numbers.counted(950), "950"), (numbers.counted(12_600_000), "12.6 M"),
        (numbers.counted(2.5e9), "2.50 G"), (numbers.span("1.0 µs", "2.0 µs"), "1.0 to 2.0 µs"),
        (numbers.span("999 µs", "1.00 ms"), "999 µs to 1.00 ms"), (numbers.percent(0.73784), "73.78 %"),
        (numbers.percent(0.1, 1), "10.0 %"), (numbers.tick(1200), "1,200"), (numbers.tick(0.5), "0.5"),
        (numbers.tick(70), "70"), (numbers.brief("50.0 kB"), "50 kB"), (numbers.brief("500 kB"), "500 kB"),
        (numbers.brief("950"), "950"),
    ],
)  # fmt: skip
def test_numbers(made: str, shown: str) -> None:
    assert made == shown
