"""The table of engines, and a file opened in the one that was asked for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import pytest

from edgecnn.errors import UnknownNameError, UsageError
from edgecnn.measure.doctor import MEND
from edgecnn.runtime import engines, litert
from edgecnn.runtime.artifact import FORMAT_OF_SUFFIX, open_artifact
from edgecnn.runtime.engines import RUNTIMES, fitting, installed
from tests import tiny_artifacts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny_artifacts.tflite(tmp_path / "a.tflite", tiny_artifacts.weights())


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_engine_has_a_runner_of_its_format_and_can_be_mended(name: str) -> None:
    engine = RUNTIMES[name]
    assert engine.open().format == engine.format  # type: ignore[attr-defined]
    assert engine.format in FORMAT_OF_SUFFIX.values()
    assert {module.partition(".")[0] for module in engine.modules} <= set(MEND)


def test_the_first_engine_of_a_format_is_its_default(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [fitting(format)[0] for format in ("tflite", "onnx", "torchscript", "pte")] == [
        "litert", "onnxruntime", "torchscript", "executorch",
    ]  # fmt: skip
    with open_artifact(path) as runner:
        assert runner.engine.startswith("litert ")


def installed_are(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda package: object() if package in packages else None
    )  # engines asks it for packages only


def test_an_engine_that_would_only_be_another_once_more_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_are(monkeypatch, "tflite_runtime", "torch")
    assert installed() == ("litert", "torchscript")
    installed_are(monkeypatch, "tflite_runtime", "ai_edge_litert", "openvino")
    assert installed() == ("litert", "tflite-runtime", "openvino")
    installed_are(monkeypatch)
    assert installed() == ()


def test_tflite_runtime_is_taken_when_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = litert.INTERPRETERS | {"tflite-runtime": ("ai_edge_litert", "ai-edge-litert")}  # stands in for the old one
    monkeypatch.setattr(litert, "INTERPRETERS", both)
    with open_artifact(path, engine="tflite-runtime") as runner:
        assert runner.engine.startswith("tflite-runtime ")
    with open_artifact(path, engine="litert") as runner:
        assert runner.engine.startswith("litert ")


def test_tflite_runtime_that_is_not_there_does_not_become_litert(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(UsageError, match="the engine tflite-runtime cannot be imported .* take litert") as caught:
        open_artifact(path, engine="tflite-runtime")
    assert "\n" not in str(caught.value)


def test_an_engine_of_another_format_or_of_none_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot run in openvino \(valid: litert, tflite-runtime\)"):
        open_artifact(path, engine="openvino")
    with pytest.raises(UnknownNameError, match="unknown runtime 'tflite'"):
        open_artifact(path, engine="tflite")


def test_loading_imports_the_first_module_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def import_module(name: str) -> None:
        names.append(name)
        if name == engines.LITERT:
            raise ImportError

    monkeypatch.setattr(importlib, "import_module", import_module)
    RUNTIMES["litert"].load()
    assert names == ["edgecnn.runtime.litert", engines.LITERT, engines.TFLITE_RUNTIME]


def test_an_engine_that_pip_knows_nothing_of_tells_its_version_itself(path: Path, monkeypatch) -> None:
    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", unknown)  # as of a nightly wheel, or of a board's own packages
    with open_artifact(path) as runner:
        assert runner.engine.startswith(f"litert {sys.modules['ai_edge_litert'].__version__}")
    assert engines.version_of("edgecnn.errors", "edgecnn") == "of unknown version"
