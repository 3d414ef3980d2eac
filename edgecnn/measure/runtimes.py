"""The runtimes that can be measured: which format each runs, and which module it is."""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Runtime:
    """A runtime of files of one ``format``; ``modules`` has what to import, the best first, ``runner`` our part."""

    format: str
    runner: str
    modules: tuple[str, ...]

    def load(self) -> None:
        """Import our part and the first module that is there; when none is, opening a file says what to install."""
        importlib.import_module(self.runner)
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError:
                continue
            return


RUNTIMES = {
    "litert": Runtime("tflite", "edgecnn.runtime.litert", ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")),
    "onnxruntime": Runtime("onnx", "edgecnn.runtime.onnx", ("onnxruntime",)),
    "torchscript": Runtime("torchscript", "edgecnn.runtime.torchscript", ("torch",)),
}
