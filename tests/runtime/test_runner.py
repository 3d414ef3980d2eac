"""Real engines on small real files: right answers, any batch, and one line for files that are not right."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.errors import BadFileError, EdgeCNNError, MissingExtraError, UsageError
from edgecnn.runtime import litert
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import Artifact, Image, InputTensor
from edgecnn.runtime.preprocess import InputSpec, OutputSpec, prepare
from tests import tiny_artifacts
from tests.tiny_artifacts import CLASSES, IMAGE, OUTPUT_SCALE, WEIGHT_SCALE

TINY = Image(*IMAGE)
MATRIX = tiny_artifacts.weights()
IMAGES = tiny_artifacts.images(33)
LOGITS = tiny_artifacts.logits(IMAGES, MATRIX)


def nchw(matrix: np.ndarray) -> np.ndarray:
    """The real weights with their columns in the order of an NCHW image, float32."""
    return matrix.reshape(-1, *IMAGE).transpose(0, 3, 1, 2).reshape(len(matrix), -1) * np.float32(WEIGHT_SCALE)


def onnx_file(path: Path, batch: int | str = "batch") -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(np.ascontiguousarray(nchw(MATRIX).T), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def torchscript_file(path: Path, classes_first: bool = True) -> Path:
    import torch

    layer = torch.nn.Linear(48, CLASSES, bias=False)
    layer.weight.data = torch.from_numpy(nchw(MATRIX).copy())
    tail = torch.nn.Identity() if classes_first else torch.nn.Unflatten(1, (CLASSES, 1))
    module = torch.nn.Sequential(torch.nn.Flatten(), layer, tail).eval()
    torch.jit.trace(module, torch.zeros(1, 3, 4, 4)).save(str(path))
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "tflite, dynamic batch": lambda folder: tiny_artifacts.tflite(folder / "a.tflite", MATRIX),
    "tflite, batch of 1": lambda folder: tiny_artifacts.tflite(folder / "a.tflite", MATRIX, batch=1),
    "onnx, dynamic batch": lambda folder: onnx_file(folder / "a.onnx"),
    "onnx, batch of 1": lambda folder: onnx_file(folder / "a.onnx", 1),
    "torchscript": lambda folder: torchscript_file(folder / "a.torchscript"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", FILES)
def test_float_files_give_the_logits_at_any_batch(kind: str, tmp_path: Path) -> None:
    with open_artifact(FILES[kind](tmp_path), image=TINY) as runner:
        assert runner.classes == CLASSES
        assert runner.input == InputSpec(*IMAGE, "NHWC" if runner.format == "tflite" else "NCHW")
        assert runner.format == kind.split(",")[0]
        for batch in (1, 33, 4, 4):
            np.testing.assert_allclose(predict(runner, IMAGES[:batch]), LOGITS[:batch], atol=1e-4)


@pytest.mark.parametrize("batch", [None, 1])
def test_an_int8_file_is_within_half_a_step(batch: int | None, tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", MATRIX, quantized=True, batch=batch)
    with open_artifact(path) as runner:
        assert runner.input == InputSpec(*IMAGE, "NHWC", "int8", 1 / 64, 0)
        assert runner.output == OutputSpec("int8", OUTPUT_SCALE, 0)
        assert runner.run(prepare(IMAGES, runner.input)).dtype == np.int8
        assert np.abs(predict(runner, IMAGES) - LOGITS).max() <= OUTPUT_SCALE / 2


def test_a_result_is_not_overwritten_by_the_next_run(tmp_path: Path) -> None:
    with open_artifact(FILES["tflite, dynamic batch"](tmp_path)) as runner:
        first = predict(runner, IMAGES[:1])
        kept = first.copy()
        predict(runner, IMAGES[1:2])
        np.testing.assert_array_equal(first, kept)


def test_a_fixed_batch_of_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="fixed batch of 8"):
        open_artifact(tiny_artifacts.tflite(tmp_path / "a.tflite", MATRIX, batch=8))


def test_a_bare_file_made_for_other_pixels_is_refused_and_runs_with_a_manifest(tmp_path: Path) -> None:
    path = tiny_artifacts.tflite(tmp_path / "a.tflite", MATRIX, quantized=True, input_scale=1.0, input_zero_point=-128)
    with pytest.raises(BadFileError, match=r"takes inputs from 0 to 255, but edgecnn gives it -2 to 1\.98"):
        open_artifact(path)
    with open_artifact(path, image=Image(*IMAGE, offset=0, divisor=1)) as runner:
        tensor = prepare(IMAGES, runner.input)
        np.testing.assert_array_equal(tensor.astype(int) + 128, IMAGES)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".torchscript", ".pt"])
@pytest.mark.parametrize("content", [b"", b"\0\0\0\0TFL3", b"junk" * 100, b"PK\x03\x04" + bytes(200)])
def test_foreign_files_are_refused_in_one_line(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadFileError) as caught:
        open_artifact(path, image=TINY)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["tflite, dynamic batch", "onnx, dynamic batch", "torchscript"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_refused(kind: str, share: float, tmp_path: Path) -> None:
    path = FILES[kind](tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadFileError, match="truncated"):
        open_artifact(path, image=TINY)


def test_missing_files_folders_and_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"there is no .*none\.tflite; give"):
        open_artifact(tmp_path / "none.tflite")
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(BadFileError, match="is not a file"):
        open_artifact(tmp_path / "folder.tflite")
    (tmp_path / "a.pb").touch()
    with pytest.raises(BadFileError, match=r"is no artifact by its ending \(valid: \.tflite, \.onnx"):
        open_artifact(tmp_path / "a.pb")


@pytest.mark.parametrize(
    ("kind", "modules", "error", "advice"),
    [
        ("tflite, dynamic batch", ["ai_edge_litert.interpreter", "tflite_runtime"], UsageError, "ai-edge-litert"),
        ("onnx, dynamic batch", ["onnxruntime"], MissingExtraError, r"edgecnn\[train\]"),
    ],
)
def test_a_missing_engine_says_what_to_install(
    kind: str,
    modules: list[str],
    error: type[EdgeCNNError],
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = FILES[kind](tmp_path)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(error, match=advice):
        open_artifact(path)


def entry(path: Path, format: str, engine: str | None = None, input: InputTensor | None = None) -> Artifact:
    tensor = InputTensor("NCHW") if input is None else input
    return Artifact(path.name, format, "float32", 1, sha256(path), tensor, OutputSpec(), engine=engine)


def test_an_entry_that_does_not_fit_the_file_names_the_field(tmp_path: Path) -> None:
    path = FILES["tflite, dynamic batch"](tmp_path)
    with pytest.raises(BadFileError, match=r"input\.layout is NHWC in the file, but its manifest says NCHW"):
        open_artifact(path, entry(path, "tflite"), image=TINY)
    path = FILES["onnx, dynamic batch"](tmp_path)
    with pytest.raises(BadFileError, match="scale"):
        open_artifact(path, entry(path, "onnx", input=InputTensor("NCHW", "int8", 1 / 64, 0)), image=TINY)


def test_the_old_engine_refuses_the_recipe_it_computes_wrongly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = FILES["tflite, dynamic batch"](tmp_path)
    dynamic = dataclasses.replace(entry(path, "tflite", input=InputTensor()), recipe="dynamic_w8")
    open_artifact(path, dynamic, image=TINY).close()
    monkeypatch.setattr(litert, "INTERPRETERS", {"tflite-runtime": ("ai_edge_litert", "ai-edge-litert")})
    open_artifact(path, entry(path, "tflite", input=InputTensor()), image=TINY).close()
    with pytest.raises(UsageError, match="is dynamic_w8, whose per-channel weights tflite-runtime") as caught:
        open_artifact(path, dynamic, image=TINY)
    assert "\n" not in str(caught.value)


def test_4_bit_weights_that_tflite_runtime_has_no_kernel_for_are_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = FILES["tflite, dynamic batch"](tmp_path)
    narrow = dataclasses.replace(entry(path, "tflite", input=InputTensor()), recipe="static_w4a8")
    monkeypatch.setattr(litert, "INTERPRETERS", {"tflite-runtime": ("ai_edge_litert", "ai-edge-litert")})
    open_artifact(path, narrow, image=TINY).close()  # one without such layers

    def refuse(_interpreter: object) -> str:
        raise RuntimeError("fully_connected.cc:409 (filter->type == kTfLiteInt8) was not true.")

    monkeypatch.setattr(litert, "_allocate_first", refuse)
    with pytest.raises(UsageError, match="is static_w4a8, and tflite-runtime .* has no kernel for full") as caught:
        open_artifact(path, narrow, image=TINY)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_settings_are_put_back_and_engines_are_checked(tmp_path: Path) -> None:
    import torch

    path = FILES["torchscript"](tmp_path)
    before = (torch.get_num_threads(), torch.backends.quantized.engine)
    engine = next(name for name in torch.backends.quantized.supported_engines if name != before[1])
    with open_artifact(path, entry(path, "torchscript", engine), image=TINY, threads=before[0] + 1) as runner:
        predict(runner, IMAGES)
        assert runner.engine.endswith(engine)
    assert (torch.get_num_threads(), torch.backends.quantized.engine) == before
    with pytest.raises(UsageError, match="quantized engine 'abacus'"):
        open_artifact(path, entry(path, "torchscript", "abacus"), image=TINY)
    with pytest.raises(BadFileError, match="does not record its input"):
        open_artifact(path)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_torchscript_that_does_not_classify_is_refused(tmp_path: Path) -> None:
    path = torchscript_file(tmp_path / "a.pt", classes_first=False)
    with pytest.raises(BadFileError, match="no image classifier"):
        open_artifact(path, image=TINY)
    path = torchscript_file(tmp_path / "b.pt")
    with pytest.raises(BadFileError, match="cannot be run"):
        open_artifact(path, image=Image(5, 5, 3))
