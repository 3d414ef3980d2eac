"""Peak memory, of this process and of one that tells nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgecnn.measure import memory

BIG = 64 << 20


# In a process of its own: one that ran other tests takes memory that they gave back.
CHILD = """
from edgecnn.measure import memory
base = memory.start_over()
block = bytearray(b"x") * (64 << 20)
del block
print(base, memory.peak(), memory.start_over(), memory.peak())
"""


def test_the_peak_remembers_what_was_freed_until_it_starts_over() -> None:
    said = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout
    base, peak, later, peak_later = map(int, said.split())
    assert 0.9 * BIG < peak - base < 2 * BIG  # the kernel counts pages in batches
    assert max(later, peak_later) < base + BIG / 2


def test_a_kernel_that_tells_nothing(tmp_path: Path) -> None:
    assert (memory.start_over(tmp_path / "none"), memory.peak(tmp_path)) == (None, None)
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t     100 kB\n")
    assert memory.peak(tmp_path) == 102_400
