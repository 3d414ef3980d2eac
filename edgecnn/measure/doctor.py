"""What this machine can run, and what would mend the rest. Every runtime is imported in a process of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from edgecnn.errors import CheckFailedError
from edgecnn.measure.machine import FEATURES, Machine
from edgecnn.measure.worker import Worker
from edgecnn.runtime.engines import RUNTIMES

OK, ABSENT, BROKEN = "ok", "absent", "broken"
PATIENCE = 120.0  # seconds; the first import of PyTorch from an SD card is slow

LIGHT = "pip install ai-edge-litert (32-bit ARM: tflite-runtime, on Python 3.11)"
TRAIN = "pip install 'edgecnn[train]'"
MEND = {
    "ai_edge_litert": LIGHT,
    "tflite_runtime": "only on 32-bit ARM: ai-edge-litert is its successor",
    "onnxruntime": f"only for .onnx files: {TRAIN}",
    "openvino": "only for .onnx files, on x86 or 64-bit ARM: pip install 'edgecnn[openvino]'",
    "torch": f"only for training, export and TorchScript files: {TRAIN}",
    "executorch": "only for .pte files, beside torch: pip install executorch",
}


# What each extra is for, and the packages it brings; all of them must be there.
EXTRAS = {
    "train": ("training, quantizing and exporting", ("torch", "torchvision", "torchao", "litert_torch", "onnx")),
    "serve": ("edgecnn serve", ("uvicorn", "python_multipart")),
    "camera": ("cameras and videos in edgecnn watch", ("cv2",)),
    "sign": ("signed bundles", ("cryptography",)),
    "plots": ("edgecnn report --png", ("resvg_py",)),
    "timm": ("models of timm", ("timm",)),
}


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: OK, ABSENT or BROKEN, what was found, and the command that mends it."""

    about: str
    state: str
    found: str
    mend: str | None = None


def int8_speed(machine: Machine) -> list[str]:
    """What the CPU's instructions mean for int8, a line each."""
    known = [f"{name}: {FEATURES[name]}" for name in FEATURES if name in machine.features]
    return known or ["no int8 instructions: int8 saves memory here, but little or no time against float"]


def check_runtimes(
    installed: Callable[[str], bool] = _installed,
    start: Callable[[], Worker] = Worker,
) -> list[Finding]:
    """A finding per module that runs files; importing one that is installed may crash, which is a finding too."""
    findings = []
    for module in dict.fromkeys(module for runtime in RUNTIMES.values() for module in runtime.modules):
        package = module.partition(".")[0]
        if not installed(package):
            findings.append(Finding(package, ABSENT, "not installed", MEND[package]))
            continue
        try:
            with start() as worker:
                version = worker.ask({"do": "smoke", "module": module}, PATIENCE)["version"]
        except CheckFailedError as error:
            mend = f"pip install --force-reinstall {package.replace('_', '-')}, or a version built for this CPU"
            findings.append(Finding(package, BROKEN, f"importing it: {error}", mend))
        else:
            findings.append(Finding(package, OK, f"{version} imports"))
    return findings


def check_extras(installed: Callable[[str], bool] = _installed) -> list[Finding]:
    """A finding per extra: whether its packages are installed."""
    findings = []
    for extra, (purpose, packages) in EXTRAS.items():
        missing = [package for package in packages if not installed(package)]
        state, found = (ABSENT, f"without {', '.join(missing)}") if missing else (OK, f"for {purpose}")
        mend = f"only for {purpose}: pip install 'edgecnn[{extra}]'" if missing else None
        findings.append(Finding(f"[{extra}]", state, found, mend))
    return findings


def runs_tflite(findings: list[Finding]) -> bool:
    """Whether a TFLite interpreter works: what every board needs."""
    working = {finding.about for finding in findings if finding.state == OK}
    return any(module.partition(".")[0] in working for module in RUNTIMES["litert"].modules)
