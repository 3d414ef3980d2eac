"""Withholds Intel AMX from LiteRT, whose kernel library XNNPACK would otherwise use it for everything int8.

An AMX kernel pays off on large matrices. In a small CNN the set-up of the tiles costs more than the products: on a
Sapphire Rapids core, int8 runs two to four times longer than with XNNPACK's AVX512-VNNI kernels, and longer than
float. Results are the same to the bit. LiteRT has no switch for it, but the Linux kernel has a gate:

- AMX tile data is XSTATE component 18. A process may use it only once it has asked, by
  ``arch_prctl(ARCH_REQ_XCOMP_PERM, 18)``. The kernel refuses (ENOSPC) while any thread has an alternate signal stack
  too small for a signal frame with the tiles in it. What was granted stays so until exec(3). See Linux, 5.16 or
  later: Documentation/arch/x86/xstate.rst, and ``validate_sigaltstack`` in arch/x86/kernel/fpu/xstate.c.
- XNNPACK asks once in a process, in ``init_hardware_config`` (src/configs/hardware-config.c), which runs when the
  first delegate is made. Refused, it goes on with the next best kernels.

So a small alternate signal stack, in place while the first delegate is made, is the switch. Other libraries can ask
afterwards. One that asked before cannot be overruled: oneDNN does so in the first convolution of PyTorch.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

SYS_ARCH_PRCTL = 158  # x86-64
ARCH_GET_XCOMP_SUPP = 0x1021
ARCH_GET_XCOMP_PERM = 0x1022
TILES = 1 << 18  # XSTATE component 18, tile data

# The tiles alone are 8192 bytes, so a frame with them never fits; a frame without them (AVX-512 included, about
# 3.5 KiB) does: a signal that arrives meanwhile is still handled.
STACK_SIZE = 8192


class _Stack(ctypes.Structure):
    """``stack_t`` of sigaltstack(2)."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@cache
def supported() -> bool:
    """Whether the CPU has AMX and the kernel knows it; False on anything but 64-bit x86 Linux."""
    here = sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 1 << 32
    return here and bool(_features(ARCH_GET_XCOMP_SUPP) & TILES)


def permitted() -> bool:
    """Whether this process has been granted AMX by now, by whichever library asked."""
    return supported() and bool(_features(ARCH_GET_XCOMP_PERM) & TILES)


@contextmanager
def withheld() -> Iterator[None]:
    """While this is open, the kernel refuses AMX to every library of the process that asks for the first time.

    The calling thread's alternate signal stack is replaced, and put back at the end. Where there is no AMX, and
    where it was granted before, this does nothing: ``permitted`` tells, inside and after, whether it was of use.
    """
    if not supported() or permitted():
        yield
        return
    space = ctypes.create_string_buffer(STACK_SIZE)
    small, former = _Stack(ctypes.addressof(space), 0, STACK_SIZE), _Stack()
    replaced = _libc().sigaltstack(ctypes.byref(small), ctypes.byref(former)) == 0  # not from within a handler on it
    try:
        yield
    finally:
        if replaced and _libc().sigaltstack(ctypes.byref(former), None):
            raise OSError(ctypes.get_errno(), "the former alternate signal stack cannot be put back")


def _features(question: int) -> int:
    """The bits that arch_prctl answers; none where the kernel does not know the question."""
    answer = ctypes.c_uint64(0)
    call = ctypes.c_long(SYS_ARCH_PRCTL), ctypes.c_long(question), ctypes.byref(answer)
    return 0 if _libc().syscall(*call) else answer.value


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
