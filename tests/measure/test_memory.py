"""Peak memory, of this process and of one that tells nothing."""

from __future__ import annotations

from pathlib import Path

from edgecnn.measure import memory

BIG = 64 << 20


def test_the_peak_remembers_what_was_freed(tmp_path: Path) -> None:
    base = memory.start_over()
    block = bytearray(b"x") * BIG
    del block
    peak = memory.peak()
    assert base is not None and peak is not None
    assert 0.9 * BIG < peak - base < 2 * BIG  # the kernel counts pages in batches
    later = memory.start_over()
    peak = memory.peak()
    assert later is not None and later < base + BIG / 2
    assert peak is not None and peak < base + BIG / 2


def test_a_kernel_that_tells_nothing(tmp_path: Path) -> None:
    assert (memory.start_over(tmp_path / "none"), memory.peak(tmp_path)) == (None, None)
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t     100 kB\n")
    assert memory.peak(tmp_path) == 102_400
