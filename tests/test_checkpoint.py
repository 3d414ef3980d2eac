"""Weights files: what is written is read, and what cannot be used is refused in one line that says why."""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header, included
from edgecnn.errors import BadFileError, OutputError
from edgecnn.models import ModelArguments
from edgecnn.models.widths import resize

METRICS = {"train_loss": 0.7, "test_accuracy": 0.9}
HEADER = Header("lenet", ModelArguments(), "digits", tuple("0123456789"), {"seed": 3}, METRICS)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Fresh weights of lenet."""
    path = tmp_path / "lenet.safetensors"
    checkpoint.save(path, HEADER, models.create("lenet").state_dict())
    return path


def refused(path: Path, expected_model: str | None = None) -> str:
    with pytest.raises(BadFileError) as caught:
        checkpoint.load_model(path, expected_model)
    message = str(caught.value)
    assert str(path) in message
    return message


def with_header(path: Path, text: str) -> Path:
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, {"edgecnn": text}))
    return path


def test_header_and_tensors_come_back(tmp_path: Path) -> None:
    tensors = {
        "matrix": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        "part": torch.arange(10)[::2],
        "scalar": torch.tensor(7),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    path = tmp_path / "new" / "folder" / "w.safetensors"
    checkpoint.save(path, HEADER, tensors)
    header, found = checkpoint.load(path)
    assert header == HEADER
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].equal(tensor)
    assert os.listdir(path.parent) == ["w.safetensors"]


def test_a_header_says_when_and_by_what_it_was_made() -> None:
    assert HEADER.created.endswith("+00:00")
    assert {"python", "edgecnn", "torch"} <= HEADER.versions.keys()
    assert checkpoint.tool_versions("no-such-package").keys() == {"python", "edgecnn"}


def test_a_model_comes_back_ready_to_score(weights: Path) -> None:
    model, header = checkpoint.load_model(weights, "lenet")
    assert header == HEADER
    assert not model.training
    stored = checkpoint.load(weights)[1]
    assert all(tensor.equal(stored[name]) for name, tensor in model.state_dict().items())


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "nothing.safetensors")
    assert "Is a directory" in refused(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 100, 20_000, -1])
def test_a_truncated_file(weights: Path, kept: int) -> None:
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "is not a whole safetensors file" in refused(weights)


@pytest.mark.parametrize("content", [b"", b"PNG and more than eight bytes", b"\xff" * 100])
def test_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    assert "is not a whole safetensors file" in refused(path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"conv1.weight": torch.zeros(1), "trap": Trap()}, tmp_path / "zip.pt")
    torch.save(Trap(), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Trap()))
    for name in ("zip.pt", "legacy.pt", "plain.pkl"):
        assert "is not a whole safetensors file" in refused(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_numbers_of_a_type_that_torch_has_not(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1]}}'
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    assert "is not a whole safetensors file" in refused(path)
    with pytest.raises(BadFileError, match="is not a whole safetensors file .*; check or copy it again"):
        checkpoint.load_foreign(path, models.create("lenet"))


def test_tensors_that_edgecnn_did_not_write(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    assert "holds tensors but no edgecnn header" in refused(path)
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, {"format": "pt"}))
    assert "holds tensors but no edgecnn header" in refused(path)


def test_a_header_from_the_future(tmp_path: Path) -> None:
    future = json.loads(HEADER.to_json()) | {"format": 2, "something": "new"}
    message = refused(with_header(tmp_path / "w", json.dumps(future)))
    assert message.endswith("has header format 2; this edgecnn reads format 1: upgrade edgecnn")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{'a': 1}", '{"format": 1}', '"format"', "[" * 100_000])
def test_a_header_that_is_none(tmp_path: Path, text: str) -> None:
    assert "has a header that edgecnn did not write" in refused(with_header(tmp_path / "w", text))


@pytest.mark.parametrize(
    "change", [
        {"arguments": {"num_classes": 1, "in_channels": 3, "image_size": [32, 32]}},
        {"arguments": {"num_classes": float("inf"), "in_channels": 3, "image_size": [32, 32]}},
        {"arguments": {"num_classes": 10**9, "in_channels": 3, "image_size": [32, 32]}},
        {"arguments": {"num_classes": 10, "in_channels": 3, "image_size": [32, 100_000]}},
        {"classes": 5}, {"more": 1}, {"recipe": []}, {"metrics": []}, {"metrics": {"test_accuracy": "x"}},
        {"dataset": 5}, {"recipe": {"pruning": "x"}}, {"recipe": {"validation": "x"}},
        {"recipe": {"distillation": "x"}}, {"start": {"recipe": "x"}}, {"start": {"start": "x"}},
        {"start": {"start": {"recipe": {"pruning": "x"}}}}, {"start": {"recipe": {"validation": "x"}}},
        {"start": {"dataset": 5}},
        {"recipe": {"label_smoothing": "x"}}, {"recipe": {"dropout": "x"}}, {"recipe": {"optimizer": ["sgd"]}},
        {"recipe": {"augmentation": {"shift": 4.5}}}, {"recipe": {"augmentation": {"flip": "no"}}},
        {"metrics": {"test_accuracy": math.nan}}, {"recipe": {"validation": -math.inf}},
    ],
)  # fmt: skip
def test_a_header_with_values_of_another_kind(tmp_path: Path, change: dict[str, Any]) -> None:
    text = json.dumps(json.loads(HEADER.to_json()) | change)
    assert "has a header that edgecnn did not write" in refused(with_header(tmp_path / "w", text))


@pytest.mark.parametrize(
    ("number", "part"),
    [("1e999", "1e999 is no number that can be used"), ("1" + 400 * "0", "int too large to convert to float")],
    ids=["infinite", "enormous"],
)
def test_a_number_that_nobody_could_reckon_with_is_none(tmp_path: Path, number: str, part: str) -> None:
    text = json.dumps(json.loads(HEADER.to_json()) | {"metrics": {"test_accuracy": 1}})
    path = with_header(tmp_path / "w", text.replace('"test_accuracy": 1', f'"test_accuracy": {number}'))
    assert part in refused(path)


def test_weights_of_another_model_name_the_first_tensor_and_both_shapes(weights: Path) -> None:
    message = refused(weights, "resnet8")
    assert "(weights of 'lenet') does not fit the model: it has no tensor 'conv0.weight' 16x3x3x3" in message
    header, tensors = checkpoint.load(weights)
    checkpoint.save(weights, replace(header, model="mod_cnn"), tensors)
    message = refused(weights, "mod_cnn")
    assert message.endswith("it has no tensor 'bn1.weight' 6")
    fewer = replace(header, arguments=replace(header.arguments, num_classes=4))
    checkpoint.save(weights, fewer, tensors)
    assert refused(weights).endswith("tensor 'fc3.weight' is 10x84 in the file and 4x84 in the model")


def test_weights_of_another_model_of_the_same_shapes(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.names()
    known = dict(models.registry._FACTORIES)
    monkeypatch.setattr(models.registry, "_FACTORIES", known | {"twin": known["lenet"]})
    assert "holds weights of 'lenet', not of 'twin'; choose --model 'lenet'" in refused(weights, "twin")


def test_one_tensor_too_many_or_of_another_shape(weights: Path) -> None:
    header, tensors = checkpoint.load(weights)

    def store(change: dict[str, Tensor]) -> None:
        checkpoint.save(weights, header, tensors | change)

    store({"fc9.weight": torch.zeros(2, 2)})
    assert refused(weights).endswith("the model has no tensor 'fc9.weight'")
    store({"fc3.bias": torch.tensor(0.0)})
    assert refused(weights).endswith("tensor 'fc3.bias' is scalar in the file and 10 in the model")


def test_annotate_adds_metrics_and_keeps_the_rest(weights: Path) -> None:
    before = checkpoint.load(weights)[1]
    header = checkpoint.annotate(weights, {"static_w8a8_accuracy": 0.89, "test_accuracy": 0.91})
    found, tensors = checkpoint.load(weights)
    metrics = {"train_loss": 0.7, "test_accuracy": 0.91, "static_w8a8_accuracy": 0.89}
    assert found == header == replace(HEADER, metrics=metrics)
    assert all(tensors[name].equal(before[name]) for name in before | tensors)


def test_annotate_that_fails_leaves_the_file(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.annotate(weights, {"accuracy": math.nan})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint.annotate(weights, {"accuracy": 0.5})
    assert weights.read_bytes() == before
    assert os.listdir(weights.parent) == [weights.name]


def test_shipped_weights_are_found_by_model_and_data_set(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(included, "shipped_folder", lambda: tmp_path)
    assert checkpoint.all_shipped("lenet") == []
    for dataset in ("digits", "cifar10"):
        (tmp_path / dataset).mkdir()
        (tmp_path / dataset / weights.name).write_bytes(weights.read_bytes())
    paths = [tmp_path / dataset / weights.name for dataset in ("cifar10", "digits")]
    assert checkpoint.all_shipped("lenet") == [(path, HEADER) for path in paths]
    assert checkpoint.shipped("lenet", "digits") == paths[1]
    assert checkpoint.shipped("lenet", "flowers") is None
    assert checkpoint.shipped("mod_cnn", "digits") is None


def test_the_digest_is_of_the_tensors_and_of_nothing_else(weights: Path) -> None:
    model, _ = checkpoint.load_model(weights)
    before = checkpoint.digest(model)
    checkpoint.annotate(weights, {"more": 1.0})
    again, _ = checkpoint.load_model(weights)
    assert checkpoint.digest(again) == before
    with torch.no_grad():
        next(again.parameters()).flatten()[0] += 1e-3
    assert checkpoint.digest(again) != before


def test_shipped_weights_are_named_by_data_set_model_and_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(included, "shipped_folder", lambda: tmp_path)
    floats, trained = (tmp_path / "digits" / f"lenet{recipe}.safetensors" for recipe in ("", ".static_w8a8"))
    checkpoint.save(trained, replace(HEADER, quantization={"recipe_name": "static_w8a8"}), {})
    assert checkpoint.shipped("lenet", "digits") is None
    assert checkpoint.shipped("lenet", "digits", "static_w8a8") == trained
    checkpoint.save(floats, HEADER, {})
    assert checkpoint.shipped("lenet", "digits") == floats
    assert [path for path, _ in checkpoint.all_shipped("lenet")] == [floats]


def test_pruned_weights_that_ship_are_named_by_their_target_and_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(included, "shipped_folder", lambda: tmp_path)
    narrow = replace(HEADER, recipe={"pruning": {"target": "macs:0.5"}})
    assert (HEADER.pruned_to, narrow.pruned_to) == ("", "macs:0.5")
    cut, whole = tmp_path / "cifar10" / "lenet.macs0.5.safetensors", tmp_path / "digits" / "lenet.safetensors"
    checkpoint.save(cut, narrow, {})
    checkpoint.save(whole, HEADER, {})
    assert checkpoint.shipped("lenet", "cifar10", "macs:0.5") == cut
    assert checkpoint.shipped("lenet", "cifar10") is None
    assert checkpoint.shipped("lenet", "digits", "macs:0.5") is None
    assert [path for path, _ in checkpoint.all_shipped("lenet")] == [whole, cut]


NARROW = {"fc1": (400, 80), "fc2": (80, 84)}


def pruned(path: Path, widths: Any, tensors: dict[str, Tensor] | None = None) -> Path:
    """A file of lenet with these widths in its header, which may be nonsense."""
    value = json.loads(HEADER.to_json()) | {"widths": widths}
    whole = models.create("lenet").state_dict() if tensors is None else tensors
    path.write_bytes(safetensors.torch.save(whole, {"edgecnn": json.dumps(value)}))
    return path


def test_widths_come_back_and_make_the_network_narrow(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = resize(models.create("lenet"), NARROW, HEADER.arguments)
    checkpoint.save(path, replace(HEADER, widths=NARROW), model.state_dict())
    for expected in (None, "lenet"):
        found, header = checkpoint.load_model(path, expected)
        assert header.widths == NARROW
        assert found.get_submodule("fc1").weight.shape == (80, 400)
    assert "widths" not in HEADER.to_json()  # as before there were any


@pytest.mark.parametrize(
    ("widths", "part"),
    [
        ({"conv9": [1, 1]}, "the model has no layer 'conv9' whose channels could be changed"),
        ({"fc1": [400, 10**15]}, "layer 'fc1' cannot have 400 channels in and 1000000000000000 out"),
        ({"fc1": [400, 121]}, "the architecture has 400 and 120"),
        ({"fc1": [400, -1]}, "has a header that edgecnn did not write"),
        ({"fc1": [400, 0]}, "has a header that edgecnn did not write"),
        ({"fc1": [400, 80.0]}, "has a header that edgecnn did not write"),
        ({"fc1": ["400", "80"]}, "has a header that edgecnn did not write"),
        ({"fc1": 80}, "has a header that edgecnn did not write"),
        ([["fc1", 80]], "has a header that edgecnn did not write"),
        ("fc1", "has a header that edgecnn did not write"),
        ({"fc1": [400, 80], "fc2": [80, 84]}, "tensor 'fc1.weight' is 120x400 in the file and 80x400 in the model"),
    ],
)
def test_widths_of_nonsense_are_refused(tmp_path: Path, widths: Any, part: str) -> None:
    message = refused(pruned(tmp_path / "w.safetensors", widths))
    assert part in message
    assert "\n" not in message


def test_widths_that_do_not_fit_each_other_are_refused_also_where_the_weights_have_them(tmp_path: Path) -> None:
    tensors = models.create("lenet").state_dict()
    narrow = tensors | {name: tensors[name][:80].clone() for name in ("fc1.weight", "fc1.bias")}
    message = refused(pruned(tmp_path / "w.safetensors", {"fc1": [400, 80]}, narrow))
    assert "does not fit 'lenet': the widths of its layers do not fit each other" in message


def test_weights_of_a_whole_network_with_the_shape_of_a_narrow_one_are_refused(tmp_path: Path) -> None:
    narrow = resize(models.create("lenet"), NARROW, HEADER.arguments).state_dict()
    assert "tensor 'fc1.weight' is 80x400 in the file" in refused(pruned(tmp_path / "w.safetensors", {}, dict(narrow)))


def test_a_small_file_that_names_an_enormous_network_is_refused_before_it_is_built(tmp_path: Path) -> None:
    enormous = replace(HEADER, model="design:" + "-".join(["c1024k7n16"] * 35))  # 115 GB
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, enormous, {"a": torch.zeros(1)})
    assert "does not fit the model: it has no tensor" in refused(path)


def test_so_is_one_whose_images_make_a_network_enormous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(layer: nn.Linear) -> None:
        assert layer.weight.is_meta, "it was built"

    monkeypatch.setattr(nn.Linear, "reset_parameters", fresh)
    path = tmp_path / "w.safetensors"
    checkpoint.save(
        path, replace(HEADER, arguments=ModelArguments(image_size=(4096, 4096))), {"a": torch.zeros(1)}
    )  # 8 GB
    assert "does not fit the model: it has no tensor" in refused(path)


def test_weights_are_loaded_without_importing_pytorchs_compiler() -> None:
    code = """
import sys
from edgecnn import checkpoint
loaded = [checkpoint.load_model(path) for path in checkpoint.shipped_folder().glob("*/*.safetensors")
          if "static" not in path.name]
print(len(loaded), any(header.widths for _, header in loaded), "sympy" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, pruned, compiler = found.stdout.split()
    assert int(count) > 8 and pruned == "True"
    assert compiler == "False"  # some 900 modules, which take longer to import than all else here


def test_weights_in_a_folder_of_images_do_not_ship(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkpoint.shipped("lenet", str(weights.parent)) is None
    monkeypatch.chdir(checkpoint.shipped_folder())
    assert checkpoint.shipped("lenet", "./digits") is None
    monkeypatch.setattr(included, "shipped_folder", lambda: weights.parent / "below")
    assert checkpoint.shipped("lenet", "..") is None


@pytest.mark.parametrize("content", [b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1"])
def test_a_page_in_place_of_a_download_is_not_accused_of_holding_code(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match="is no PyTorch file; was something else downloaded"):
        checkpoint.load_foreign(path, models.create("lenet"))


@pytest.mark.parametrize("kept", [300, 20_000])
def test_a_download_that_was_cut_off_is_said_to_be_no_whole_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "w.pth"
    torch.save({"weight": torch.zeros(100, 100)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadFileError, match="is not a whole PyTorch file"):
        checkpoint.load_foreign(path, models.create("lenet"))


@pytest.mark.parametrize(
    ("tensors", "part"),
    [
        (b"\x80\x02.", "is not a whole PyTorch file"),
        ({1: torch.zeros(1)}, "holds no state dict"),
        ({"weight": torch.zeros(2, 2).to_sparse()}, "is sparse, quantized or complex"),
        ({"weight": torch.zeros(2, 2, dtype=torch.complex64)}, "is sparse, quantized or complex"),
    ],
)
def test_other_pytorch_files_are_refused_in_one_line(tmp_path: Path, tensors: Any, part: str) -> None:
    path = tmp_path / "w.pth"
    if isinstance(tensors, bytes):
        path.write_bytes(tensors)
    else:
        torch.save(tensors, path)
    with pytest.raises(BadFileError, match=part):
        checkpoint.load_foreign(path, torch.nn.Linear(2, 2, bias=False))
