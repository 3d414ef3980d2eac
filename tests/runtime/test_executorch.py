"""ExecuTorch on small real .pte files, where it is installed; no set of pinned packages has it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.artifact import open_artifact
from edgecnn.runtime.classify import predict
from edgecnn.runtime.preprocess import InputSpec, OutputSpec
from tests.conftest import Once
from tests.runtime.test_runner import IMAGES, LOGITS, MATRIX, nchw
from tests.tiny_artifacts import IMAGE


def test_executorch_that_is_not_there_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch", None)
    monkeypatch.setitem(sys.modules, "executorch.extension.pybindings", None)
    path = tmp_path / "a.pte"
    path.write_bytes(b"pte")
    with pytest.raises(UsageError, match="needs ExecuTorch, .* run: pip install executorch") as caught:
        open_artifact(path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def files(once: Once) -> Path:
    """A folder with the classifier lowered to XNNPACK, for one image and for up to 16, and one of an integer input."""
    pytest.importorskip("executorch", reason="ExecuTorch is not installed: pip install executorch")

    def make(folder: Path) -> None:
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        layer = torch.nn.Linear(48, len(MATRIX), bias=False)
        layer.weight.data = torch.from_numpy(nchw(MATRIX).copy())
        classifier = torch.nn.Sequential(torch.nn.Flatten(), layer).eval()

        def write(name: str, module: torch.nn.Module, example: torch.Tensor, shapes: object = None) -> None:
            program = torch.export.export(module, (example,), dynamic_shapes=shapes)
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
            (folder / name).write_bytes(lowered.buffer)

        write("one.pte", classifier, torch.zeros(1, 3, 4, 4))
        write("eight.pte", classifier, torch.zeros(8, 3, 4, 4))
        batch = torch.export.Dim("batch", min=1, max=16)
        write("many.pte", classifier, torch.zeros(2, 3, 4, 4), ({0: batch},))
        write("integer.pte", torch.nn.Flatten(), torch.zeros(1, 3, 4, 4, dtype=torch.int32))

    return once("pte", make)


@pytest.mark.parametrize("name", ["one.pte", "many.pte"])
def test_files_give_the_logits_at_any_batch(name: str, files: Path) -> None:
    with open_artifact(files / name) as runner:
        assert runner.engine.startswith("executorch ")
        assert (runner.input, runner.output, runner.classes) == (InputSpec(*IMAGE, "NCHW"), OutputSpec(), 3)
        for count in (1, 33, 4, 4):
            np.testing.assert_allclose(predict(runner, IMAGES[:count]), LOGITS[:count], atol=1e-4)


def test_a_result_is_not_overwritten_by_the_next_run(files: Path) -> None:
    with open_artifact(files / "one.pte") as runner:
        first = predict(runner, IMAGES[:1])
        kept = first.copy()
        predict(runner, IMAGES[1:2])
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("threads", [2, 1])
def test_threads_are_as_asked_for(threads: int, files: Path) -> None:
    from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count

    with open_artifact(files / "one.pte", threads=threads):
        assert _threadpool_get_thread_count() == threads


def test_what_is_no_classifier_of_single_images_is_refused(files: Path) -> None:
    with pytest.raises(BadFileError, match="another type than float32"):
        open_artifact(files / "integer.pte")
    with pytest.raises(BadFileError, match="cannot be run"):
        open_artifact(files / "eight.pte")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused(share: float, files: Path, tmp_path: Path) -> None:
    content = (files / "one.pte").read_bytes()
    path = tmp_path / "cut.pte"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadFileError, match="truncated") as caught:
        open_artifact(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
