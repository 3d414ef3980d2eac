"""Runs .tflite files: the only module that imports a TFLite interpreter.

ai-edge-litert is preferred; tflite-runtime, its predecessor, is what 32-bit ARM can get. Intel AMX is withheld from
both, for amx.py's reason, unless the environment has EDGECNN_AMX=1; the Runner's ``engine`` says what is in force.
"""

from __future__ import annotations

import importlib
import os
from contextlib import nullcontext
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime import amx
from edgecnn.runtime.engines import version_of
from edgecnn.runtime.manifest import Artifact, Image
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET, InputSpec, OutputSpec
from edgecnn.runtime.runner import Runner
from edgecnn.runtime.slices import empty
from edgecnn.runtime.tflite_file import read
from edgecnn.runtime.tflite_verifier import read_verified

INTERPRETERS = {"litert": ("ai_edge_litert", "ai-edge-litert"), "tflite-runtime": ("tflite_runtime", "tflite-runtime")}
AMX_VARIABLE = "EDGECNN_AMX"

_amx: str | None = None  # what XNNPACK found when it chose its kernels; it chooses once in a process


def open_content(content: bytes, *, delegate: bool, threads: int = 1, engine: str | None = None) -> Any:
    """An interpreter of a .tflite file in memory, its tensors allocated.

    With ``delegate``, XNNPACK takes what it can, as in a Runner. Without, the operations run one by one and every
    intermediate tensor is kept. ``engine`` is one of INTERPRETERS; None is the first that can be imported. Raises
    BadFileError, and UsageError when there is no engine.
    """
    module, _ = _engine(engine)
    kind = module.OpResolverType
    resolver = kind.AUTO if delegate else kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = module.Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=not delegate,
        )
        if delegate:
            _allocate_first(interpreter)
        else:
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BadFileError(f"a TFLite file in memory cannot be run: {' '.join(str(error).split())}") from error
    return interpreter


def engine_in_force() -> str:
    """Name and version of the engine that open_content takes; with a delegate made, also what of AMX is in force."""
    return _engine()[1] + (_amx or "")


def _allocate_first(interpreter: Any) -> str:
    """Allocate a new interpreter's tensors, which makes its delegate, and say what of AMX is in force.

    Raises UsageError for a value of EDGECNN_AMX that means nothing.
    """
    global _amx
    value = os.environ.get(AMX_VARIABLE, "0")
    if value not in ("0", "1"):
        raise UsageError(f"{AMX_VARIABLE} is '{value[:40]}' (valid: 0 withholds Intel AMX from LiteRT, 1 leaves it)")
    late = value == "0" and amx.permitted()
    with nullcontext() if value == "1" else amx.withheld():
        interpreter.allocate_tensors()
        if _amx is None:
            _amx = _in_force(late)
    return _amx


def _in_force(late: bool) -> str:
    if not amx.supported():
        return ""
    if not amx.permitted():
        return ", AMX withheld"
    return ", AMX allowed (granted before)" if late else ", AMX allowed"


def _engine(only: str | None = None) -> tuple[Any, str]:
    """The module with the interpreter, and the engine's name and version. Raises UsageError when there is none.

    ``only`` is the one of INTERPRETERS to take; None takes the first that can be imported.
    """
    reasons = []
    for name, (package, distribution) in INTERPRETERS.items():
        if only not in (None, name):
            continue
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError as error:
            reasons.append(f"{package}: {error}")
            continue
        return module, f"{name} {version_of(package, distribution)}"
    if only is not None:
        raise UsageError(
            f"the engine {only} cannot be imported ({'; '.join(reasons)}); take litert, which is ai-edge-litert where "
            "that is installed (tflite-runtime's last wheels are for Python 3.11 and numpy 1)"
        )
    raise UsageError(
        f"running a .tflite file needs a TFLite interpreter, and none can be imported ({'; '.join(reasons)}); "
        "run: pip install ai-edge-litert (32-bit ARM: tflite-runtime, on Python 3.11)"
    )


class LiteRTRunner(Runner):
    """A .tflite classifier: one image input of rank 4, one output [batch, classes].

    A file whose batch is dynamic is resized when the batch changes, and only then; a file with a fixed batch of 1
    is run image by image. Raises BadFileError for anything else, and UsageError for a file whose ``entry`` says that
    this engine would compute it wrongly.
    """

    format = "tflite"
    interpreter: ClassVar[str | None] = None  # of INTERPRETERS; None is the first that can be imported

    def __init__(self, path: Path, entry: Artifact | None, image: Image | None, threads: int) -> None:
        module, name = _engine(self.interpreter)
        self.path = path
        if entry is not None and entry.recipe == "dynamic_w8" and name.startswith("tflite-runtime"):
            raise UsageError(
                f"{path} is dynamic_w8, whose per-channel weights {name} multiplies wrongly without a word; "
                "run it with ai-edge-litert, or take the float32 or static_w8a8 file"
            )
        content = read_verified(path, None if entry is None else entry.sha256)
        try:
            self._interpreter = module.Interpreter(model_content=content, num_threads=threads)
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise self._broken(error) from error
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0]["shape"]) != 4:
            raise BadFileError(f"{path} is no image classifier: it needs one input of rank 4 and one output")
        self.input = self._input_spec(inputs[0], image)
        self.output = self._output_spec(outputs[0])
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        self._dynamic = inputs[0].get("shape_signature", inputs[0]["shape"])[0] == -1
        self._batch = int(inputs[0]["shape"][0])
        if not self._dynamic and self._batch != 1:
            raise BadFileError(f"{path} has a fixed batch of {self._batch}; export it with a dynamic batch or with 1")
        try:
            self.engine = name + _allocate_first(self._interpreter)
        except (ValueError, RuntimeError) as error:
            if entry is not None and entry.recipe == "static_w4a8" and name.startswith("tflite-runtime"):
                raise UsageError(
                    f"{path} is static_w4a8, and {name} has no kernel for fully connected layers of 4-bit weights; "
                    "run it with ai-edge-litert, or take the float32 or static_w8a8 file"
                ) from error
            raise self._broken(error) from error
        shape = self._interpreter.get_output_details()[0]["shape"]
        if len(shape) != 2:
            raise BadFileError(f"{path} is no image classifier: its output is {list(shape)}, not [batch, classes]")
        self.classes = int(shape[1])

    def run(self, tensor: np.ndarray) -> np.ndarray:
        try:
            if self._dynamic or len(tensor) == 1:
                result = self._run(tensor)
            else:
                result = np.concatenate([self._run(tensor[index : index + 1]) for index in range(len(tensor))])
        except (ValueError, RuntimeError) as error:
            raise self._broken(error) from error
        if result.shape != (len(tensor), self.classes):
            raise BadFileError(
                f"{self.path} gave {list(result.shape)} for {len(tensor)} images of {self.classes} classes; "
                "it says its batch is dynamic, but it is not"
            )
        return result

    def idle(self) -> LiteRTRunner:
        other = copy(self)
        module, _ = _engine(self.interpreter)
        try:
            other._interpreter = module.Interpreter(model_content=empty(read(self.path.read_bytes())))
            for index, size in ((self._input_index, self.input.shape), (self._output_index, (self.classes,))):
                other._interpreter.resize_tensor_input(index, (self._batch, *size))
            _allocate_first(other._interpreter)
        except (ValueError, RuntimeError) as error:
            raise self._broken(error) from error
        return other

    def close(self) -> None:
        del self._interpreter

    def _run(self, tensor: np.ndarray) -> np.ndarray:
        if len(tensor) != self._batch:
            self._interpreter.resize_tensor_input(self._input_index, tensor.shape)
            self._interpreter.allocate_tensors()
            self._batch = len(tensor)
        self._interpreter.set_tensor(self._input_index, tensor)
        self._interpreter.invoke()
        output: np.ndarray = self._interpreter.get_tensor(self._output_index)
        return output

    def _input_spec(self, details: dict[str, Any], image: Image | None) -> InputSpec:
        offset, divisor = (INPUT_OFFSET, INPUT_DIVISOR) if image is None else (image.offset, image.divisor)
        height, width, channels = (int(size) for size in details["shape"][1:])
        try:
            return InputSpec(height, width, channels, "NHWC", *_quantization(details), offset, divisor)
        except UsageError as error:
            raise BadFileError(f"{self.path}: input {error}") from error

    def _output_spec(self, details: dict[str, Any]) -> OutputSpec:
        try:
            return OutputSpec(*_quantization(details))
        except UsageError as error:
            raise BadFileError(f"{self.path}: output {error}") from error

    def _broken(self, error: Exception) -> BadFileError:
        reason = " ".join(str(error).split())
        return BadFileError(f"{self.path} cannot be run: {reason}; it is truncated, damaged or not for this engine")


class TFLiteRuntimeRunner(LiteRTRunner):
    """The same in tflite-runtime and in nothing else, to measure it beside its successor."""

    interpreter = "tflite-runtime"


def _quantization(details: dict[str, Any]) -> tuple[str, float, int]:
    """(dtype, scale, zero point) of a tensor; the interpreter gives scale 0 for what is not quantized."""
    dtype = np.dtype(details["dtype"]).name
    scale, zero_point = details["quantization"]
    return (dtype, 1.0, 0) if dtype == "float32" else (dtype, float(scale), int(zero_point))
