"""OpenVINO on small real .onnx files: the answers of ONNX Runtime, any batch, one line for what is not right."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.errors import BadFileError, MissingExtraError
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.manifest import Artifact, InputTensor
from edgecnn.runtime.preprocess import InputSpec, OutputSpec
from edgecnn.runtime.runner import Runner
from tests.runtime.test_runner import IMAGES, LOGITS, MATRIX, TINY, nchw, onnx_file
from tests.tiny_artifacts import IMAGE


def quantized_file(path: Path) -> Path:
    """The classifier with 8-bit weights and activations between QuantizeLinear and DequantizeLinear.

    All are uint8, as in edgecnn's own files: with int8 weights the engines saturate, each in its way, without VNNI.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def pair(name: str, out: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name} q"]),
            helper.make_node("DequantizeLinear", [f"{name} q", "scale", "zero"], [out]),
        ]

    weights = (np.rint(nchw(MATRIX).T * 64) + 128).astype(np.uint8)
    graph = helper.make_graph(
        [
            *pair("image", "image dq"),
            helper.make_node("Flatten", ["image dq"], ["flat"]),
            helper.make_node("DequantizeLinear", ["w", "weight scale", "weight zero"], ["w dq"]),
            helper.make_node("MatMul", ["flat", "w dq"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.array(1 / 64, np.float32), "scale"),
            numpy_helper.from_array(np.array(128, np.uint8), "zero"),
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array(1 / 64, np.float32), "weight scale"),
            numpy_helper.from_array(np.array(128, np.uint8), "weight zero"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def fixed_file(path: Path) -> Path:
    """The classifier for one image at a time, which a Reshape inside it insists on."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["image", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(np.array([1, 48]), "shape"),
            numpy_helper.from_array(np.ascontiguousarray(nchw(MATRIX).T), "w"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def opened(path: Path, **words: object) -> Runner:
    return open_artifact(path, engine="openvino", **words)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [onnx_file, fixed_file])
def test_float_files_give_the_logits_at_any_batch(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """To float32's precision: in bfloat16, OpenVINO's own choice on some CPUs, they would be 0.01 off."""
    with opened(make(tmp_path / "a.onnx"), image=TINY) as runner:
        assert runner.engine.startswith("openvino 20")
        assert (runner.input, runner.output, runner.classes) == (InputSpec(*IMAGE, "NCHW"), OutputSpec(), 3)
        for count in (1, 33, 4, 4):
            np.testing.assert_allclose(predict(runner, IMAGES[:count]), LOGITS[:count], atol=1e-4)


def test_a_quantized_file_chooses_as_in_onnx_runtime(tmp_path: Path) -> None:
    path = quantized_file(tmp_path / "a.onnx")
    with opened(path) as ours, open_artifact(path, engine="onnxruntime") as theirs:
        first, second = predict(ours, IMAGES), predict(theirs, IMAGES)
    np.testing.assert_array_equal(first.argmax(1), second.argmax(1))
    assert np.abs(first - second).max() < 0.1 * np.abs(second).max()


@pytest.mark.parametrize(("make", "anew"), [(onnx_file, [8, 1]), (fixed_file, [])])
def test_a_file_is_compiled_anew_only_when_the_batch_changes(
    make: Callable[[Path], Path], anew: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(make(tmp_path / "a.onnx")) as runner:
        compiled: list[int] = []
        compile_one = runner._compile  # type: ignore[attr-defined]

        def counted(batch: int) -> None:
            compiled.append(batch)
            compile_one(batch)

        monkeypatch.setattr(runner, "_compile", counted)
        for count in (1, 1, 8, 8, 1):
            predict(runner, IMAGES[:count])
    assert compiled == anew


def test_a_result_is_not_overwritten_by_the_next_run(tmp_path: Path) -> None:
    with opened(onnx_file(tmp_path / "a.onnx")) as runner:
        first = predict(runner, IMAGES[:1])
        kept = first.copy()
        predict(runner, IMAGES[1:2])
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_as_asked_for(threads: int, tmp_path: Path) -> None:
    with opened(onnx_file(tmp_path / "a.onnx"), threads=threads) as runner:
        compiled = runner._request.get_compiled_model()  # type: ignore[attr-defined]
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_foreign_files_are_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match="cannot be run") as caught:
        opened(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_refused(share: float, tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadFileError, match="truncated"):
        opened(path)


def test_an_entry_that_does_not_fit_the_file_names_the_field(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx")
    stated = Artifact("a.onnx", "onnx", "float32", 1, "0" * 64, InputTensor("NCHW", "int8", 1 / 64, 0), OutputSpec())
    with pytest.raises(BadFileError, match="scale"):
        opened(path, entry=stated, image=TINY)


def test_openvino_that_is_not_there_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgecnn\[openvino\]'"):
        opened(onnx_file(tmp_path / "a.onnx"))
