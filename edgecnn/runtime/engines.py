"""The engines that run files, by the names that ``--runtime`` takes: which format each runs, and in which Runner.

To add one, write its Runner in a file of its own and enter it here; the first engine of a format is its default.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecnn.runtime.manifest import Artifact, Image
from edgecnn.runtime.runner import Runner

Open = Callable[[Path, Artifact | None, Image | None, int], Runner]


@dataclass(frozen=True)
class Engine:
    """An engine of files of one ``format``.

    ``runner`` is our part, as ``module:class``; ``modules`` are what that imports, the best first, of which one is
    enough.
    """

    format: str
    runner: str
    modules: tuple[str, ...]

    def load(self) -> None:
        """Import our part and the first module that is there; when none is, opening a file says what to install."""
        importlib.import_module(self.runner.partition(":")[0])
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError:
                continue
            return

    def package(self) -> str | None:
        """The package of the first module that is installed, whether or not it works; None if none is."""
        return next((module.partition(".")[0] for module in self.modules if _installed(module)), None)

    def open(self) -> Open:
        """What opens a file: the Runner class."""
        module, _, name = self.runner.partition(":")
        opens: Open = getattr(importlib.import_module(module), name)
        return opens


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except ImportError:  # from an import hook
        return False


def version_of(package: str, distribution: str) -> str:
    """The version of an imported package, by what pip installed as ``distribution``, or by its own word.

    Nightly wheels have another name than the releases, and packages of a board's system may come without pip's records.
    """
    from importlib.metadata import PackageNotFoundError, version  # what no other engine needs is in no cold start

    try:
        return version(distribution)
    except PackageNotFoundError:
        return str(getattr(sys.modules[package], "__version__", "of unknown version"))


LITERT, TFLITE_RUNTIME = "ai_edge_litert.interpreter", "tflite_runtime.interpreter"

RUNTIMES = {
    "litert": Engine("tflite", "edgecnn.runtime.litert:LiteRTRunner", (LITERT, TFLITE_RUNTIME)),
    "tflite-runtime": Engine("tflite", "edgecnn.runtime.litert:TFLiteRuntimeRunner", (TFLITE_RUNTIME,)),
    "onnxruntime": Engine("onnx", "edgecnn.runtime.onnx:OnnxRunner", ("onnxruntime",)),
    "openvino": Engine("onnx", "edgecnn.runtime.openvino:OpenVINORunner", ("openvino",)),
    "torchscript": Engine("torchscript", "edgecnn.runtime.torchscript:TorchScriptRunner", ("torch",)),
    "executorch": Engine("pte", "edgecnn.runtime.executorch:ExecuTorchRunner", ("executorch.runtime",)),
}


def fitting(format: str) -> tuple[str, ...]:
    """Names of the engines that run files of a format, its default first."""
    return tuple(name for name, engine in RUNTIMES.items() if engine.format == format)


def installed() -> tuple[str, ...]:
    """Names of the engines that are installed, leaving out one that would only be another once more.

    Where tflite-runtime is the only TFLite interpreter, ``litert`` already is it.
    """
    packages: dict[str, str] = {}
    for name, engine in RUNTIMES.items():
        package = engine.package()
        if package is not None:
            packages.setdefault(package, name)
    return tuple(packages.values())
