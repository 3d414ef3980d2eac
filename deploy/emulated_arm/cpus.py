"""The CPUs that can be emulated, and the two kinds of ARM system that they run."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.errors import UnknownNameError

PREFIX = "emulated:"


@dataclass(frozen=True)
class System:
    """An ARM system: Debian's ``name`` for it, the ``emulator`` that runs it, the ``platforms`` its wheels are tagged.

    Its outputs may differ from this machine's by so many ``steps`` of an integer type, floats by ``tolerance``.
    """

    name: str
    emulator: str
    platforms: tuple[str, ...]
    steps: int
    tolerance: float


ARM64 = System(
    "arm64", "qemu-aarch64",
    ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    0, 1e-5,
)  # fmt: skip
# tflite-runtime 2.14 is another engine than the one it is compared with, and rounds in its own way: on 200 images of
# five networks its integers differed by up to 5 steps, its floats by up to 6e-5.
ARMHF = System("armhf", "qemu-arm", ("manylinux_2_34_armv7l",), 8, 1e-3)

V8 = "fp asimd evtstrm crc32 cpuid"
V8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"


@dataclass(frozen=True)
class CPU:
    """A CPU by QEMU's ``name`` and by Arm's ``title``, and a board that has it.

    ``part``, ``variant``, ``revision`` and ``features`` are what /proc/cpuinfo says on that board. The engine chooses
    its kernels by them, so an emulation that shows another CPU there runs other instructions than the board does.
    """

    name: str
    title: str
    board: str
    system: System
    architecture: int
    part: str
    variant: str
    revision: int
    features: str

    @property
    def cpuinfo(self) -> str:
        """/proc/cpuinfo of the board, which has four of these CPUs."""
        lines = (
            "processor\t: {processor}", f"Features\t: {self.features}", "CPU implementer\t: 0x41",
            f"CPU architecture: {self.architecture}", f"CPU variant\t: {self.variant}", f"CPU part\t: {self.part}",
            f"CPU revision\t: {self.revision}", "", "",
        )  # fmt: skip
        return "".join("\n".join(lines).format(processor=number) for number in range(CORES))


CORES = 4
CPUS = {
    cpu.name: cpu
    for cpu in (
        CPU("cortex-a53", "Cortex-A53", "Raspberry Pi 3", ARM64, 8, "0xd03", "0x0", 4, V8),
        CPU("cortex-a72", "Cortex-A72", "Raspberry Pi 4", ARM64, 8, "0xd08", "0x0", 3, V8),
        CPU("cortex-a76", "Cortex-A76", "Raspberry Pi 5", ARM64, 8, "0xd0b", "0x4", 1, V8_2),
        CPU("cortex-a7", "Cortex-A7", "Raspberry Pi 2", ARMHF, 7, "0xc07", "0x0", 5, V7),
    )
}


def find(target: str) -> CPU:
    """The CPU of a target like ``emulated:cortex-a72``. Raises UnknownNameError."""
    name = target.removeprefix(PREFIX)
    if name not in CPUS:
        raise UnknownNameError("emulated CPU", name, CPUS)
    return CPUS[name]
