"""A user's own model and data on the command line, from training to a bundle, and what is refused on the way."""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from edgecnn import checkpoint
from edgecnn.cli.main import main
from edgecnn.errors import BadFileError, UsageError
from edgecnn.export import source
from edgecnn.models import Normalization
from edgecnn.runtime.bundle import open_bundle
from edgecnn.train import WEIGHTS
from tests import nets, own_nets

FILE = """
from pathlib import Path
from torch import nn

Path(__file__).with_name("ran").touch()

def make(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Hardswish(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

def ten():
    return make(10, 3)

def needy(width):
    return make(2, 3)

def raises(num_classes):
    raise RuntimeError("no such\\nlayer")

class Branching(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layers = make(num_classes, 3)

    def forward(self, x):
        return self.layers(x if x.shape[2] > x.shape[3] else x.flip(3))

class Moody(Branching):
    def forward(self, x):
        return self.layers(x) if x.sum() > 0 else -self.layers(x)
"""
GATED = """
from tests import own_nets

def gated():
    return own_nets.build(own_nets.Gated)
"""


@pytest.fixture
def data(tmp_path):
    """Pictures with transparency in two colours, 40x48, 24 to train on and 10 to test on of each."""
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 10)):
        for name, colour in (("blue", (30, 60, 220, 255)), ("red", (220, 60, 30, 128))):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + random.normal(0, 20, (40, 48, 4)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pictures" / split / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def file(tmp_path):
    """A user's file; it leaves a mark beside it when it runs."""
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def refused(capfd, *words):
    """The one line that a refused command leaves."""
    assert main([str(word) for word in words]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("edgecnn: ")]
    assert len(lines) == 1
    return lines[0]


def test_from_training_to_a_bundle(data, file, tmp_path, capfd):
    model = f"{file}:make"
    run = ["train", "--model", model, "--data", data, "--image-size", "24x20x4", "--epochs", 6, "--batch-size", 16]
    run += ["--mean", "0.5", "--std", "0.25", "--out", tmp_path / "run", "--learning-rate", 0.05, "--average", 0.5]
    assert main([str(word) for word in run]) == 0
    header, _ = checkpoint.load(tmp_path / "run" / WEIGHTS)
    assert (header.model, header.arguments.image_size, header.arguments.in_channels) == (model, (24, 20), 4)
    assert header.normalization == Normalization((0.5,) * 4, (0.25,) * 4)
    assert "--model mine.py:make " in header.command and "--mean 0.5 --std 0.25" in header.command

    weights = ["--model", model, "--data", data, "--weights", tmp_path / "run" / WEIGHTS]
    words = ["quantize", *weights, "--format", "tflite", "--out", tmp_path / "bundle", "--json"]
    capfd.readouterr()
    assert main([str(word) for word in words]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["quantized"]["file"] == "mine_make_static_w8a8.tflite"
    assert document["quantized"]["accuracy"] >= 0.9
    assert document["agreement"] >= 0.95
    assert document["quantized"]["float_operations"] == ""
    assert document["quantized"]["gate"]["normalization"] == "ones"
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert (manifest.input.color, manifest.input.channels, manifest.model.name) == ("RGBA", 4, model)
    assert main(["compare", str(tmp_path / "bundle"), str(tmp_path / "bundle")]) == 0

    assert "is for images of 24x20x4, not 32x32x4" in refused(capfd, "quantize", *weights, "--image-size", "32x32x4")
    assert "recorded with these weights" in refused(capfd, "quantize", *weights, "--mean", "0.4", "--std", "0.2")


def bundle_words(model, data, out, *more):
    words = ("quantize", "--model", model, "--data", data, "--format", "tflite", "--out", out, *more)
    return [str(word) for word in words]


def train_words(model, data, out, *more):
    words = (
        "train",
        "--model",
        model,
        "--data",
        data,
        "--batch-size",
        16,
        "--out",
        out,
        "--learning-rate",
        0.05,
        *more,
    )
    return [str(word) for word in words]


@pytest.mark.parametrize("size", ["20x24x1", "24x24x4"])
def test_one_and_four_channels_with_their_own_mean(data, file, tmp_path, size):
    words = ["--image-size", size, "--epochs", 4, "--average", 0.5, "--mean", 0.4, "--std", 0.3]
    assert main(train_words(f"{file}:make", data, tmp_path / "run", *words)) == 0
    weights = tmp_path / "run" / WEIGHTS
    assert main(bundle_words(f"{file}:make", data, tmp_path / "bundle", "--weights", weights)) == 0
    image = open_bundle(tmp_path / "bundle").manifest.input
    assert "x".join(map(str, (image.height, image.width, image.channels))) == size
    picture = next(data.glob("test/red/*"))
    assert main(["classify", str(tmp_path / "bundle"), str(picture)]) == 0


def test_training_under_quantization_synthetic_images_and_debug_take_a_users_model(
    data, file, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(source, "SYNTHETIC_IMAGES", 32)
    model = f"{file}:make"
    words = ["--epochs", 4, "--average", 0.5, "--mean", "0.4", "--std", "0.3"]
    assert main(train_words(model, "pictures", "run", *words)) == 0
    mine = ["--weights", f"run/{WEIGHTS}"]
    trained = ["--qat", "--epochs", 1, "--batch-size", 16, "--learning-rate", 0.001]
    assert main(bundle_words(model, "pictures", "first", *mine, *trained)) == 0
    again = ["--qat-weights", f"runs/mine_make-pictures-qat/{WEIGHTS}"]
    assert main(bundle_words(model, "pictures", "second", *mine, *again)) == 0
    name = "mine_make_static_w8a8.tflite"
    assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    made = ["--calibration", "synthetic"]
    assert main(bundle_words(model, "pictures", "third", *mine, *made)) == 0
    capfd.readouterr()
    assert main(["debug", "first", "--json"]) == 0
    layers = json.loads(capfd.readouterr().out)["layers"]
    assert {"0", "5"} <= {layer["name"].split(";")[0] for layer in layers}
    torch.save({}, "bare.pth")
    for bare in ((), ("--weights", "bare.pth")):
        line = refused(capfd, *bundle_words(model, "pictures", "fourth", *made, *bare))
        assert "--calibration synthetic needs weights that 'edgecnn train' wrote" in line


def test_what_torch_fx_cannot_trace_goes_through_torch_export_and_the_loss_is_told(data, file, tmp_path, capfd):
    words = bundle_words(f"{file}:Branching", data, tmp_path / "bundle", "--recipe", "dynamic_w8")
    assert main(words) == 0
    told = capfd.readouterr().err
    assert "torch.fx cannot trace this model (" in told
    assert "it went through torch.export, so its control flow is frozen as it ran for an image of this size" in told
    gate = open_bundle(tmp_path / "bundle").artifact().gate
    assert gate["traced_by"] == "torch.export"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ten", r"gives \[2, 10\] for 2 images, but the data set has 2 classes: \[2, 2\] is needed; let the factory"),
        ("needy", "'needy' in .*mine.py cannot be called without width, and only num_classes, .* are known here"),
        ("raises", "the code of '.*mine.py:raises' failed: RuntimeError: no such layer$"),
        ("mkae", "unknown factory in .*mine.py 'mkae'; did you mean 'make'"),
        ("Moody", r"cannot be traced, neither by torch.fx \(.*\) nor by torch.export \(.*\); its forward must not"),
    ],
    ids=["classes", "arguments", "raises", "unknown", "untraceable"],
)
def test_a_factory_that_will_not_do_is_one_line(data, file, tmp_path, capfd, name, line):
    told = refused(capfd, *bundle_words(f"{file}:{name}", data, tmp_path / "bundle"))
    assert re.search(line, told)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("save", "line"),
    [
        (lambda path: torch.save(nn.Linear(2, 2), path), "holds more than tensors, and opening it would run its code"),
        (lambda path: torch.save({"0.weight": torch.zeros(1)}, path), "tensor '0.weight' is 1 in the file and 8x3x3x3"),
        (lambda path: None, "cannot read weights .*w.pth: No such file"),
    ],
    ids=["more than tensors", "other shapes", "missing"],
)
def test_weights_that_will_not_do_are_one_line(data, file, tmp_path, capfd, save, line):
    save(tmp_path / "w.pth")
    words = bundle_words(f"{file}:make", data, tmp_path / "bundle", "--weights", tmp_path / "w.pth")
    assert re.search(line, refused(capfd, *words))
    assert not (tmp_path / "bundle").exists()


def test_opening_weights_runs_no_code_that_is_not_named(data, file, tmp_path):
    run = [
        "train",
        "--model",
        f"{file}:make",
        "--data",
        data,
        "--epochs",
        1,
        "--batch-size",
        16,
        "--out",
        tmp_path / "run",
    ]
    assert main([str(word) for word in run]) == 0
    (tmp_path / "ran").unlink()
    path = tmp_path / "run" / WEIGHTS
    with pytest.raises(UsageError, match="holds weights of '.*mine.py:make', which is code; name it with --model"):
        checkpoint.load_model(path)
    with pytest.raises(BadFileError, match="has no tensor"):
        checkpoint.load_model(path, "lenet")
    assert not (tmp_path / "ran").exists()
    moved = tmp_path / "moved.py"
    file.rename(moved)
    assert checkpoint.load_model(path, f"{moved}:make")[1].model == f"{moved}:make"
    assert (tmp_path / "ran").exists()


def test_a_module_that_brings_its_weights_in_every_format(tmp_path, monkeypatch, capfd):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in "abcd":
            (tmp_path / "four" / split / name).mkdir(parents=True)
            for number in range(8):
                pixels = random.integers(0, 256, (1, 1, 3)) * 0.75 + random.integers(0, 64, (32, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "four" / split / name / f"{number}.png")
    (tmp_path / "brought.py").write_text(GATED)
    monkeypatch.chdir(tmp_path)
    words = ["quantize", "--model", "brought:gated", "--data", "four", "--mean", "0.485,0.456,0.406", "--json"]
    assert main([*words, "--std", "0.229,0.224,0.225"]) == 0
    out, err = capfd.readouterr()
    assert "no --weights: taking those that brought:gated gives the model" in err
    rows = json.loads(out)["files"]
    assert [row["failure"] for row in rows] == [None] * 6
    # TorchScript's own quantization is coarser: random weights decide most images by little.
    assert min(row["agreement"] for row in rows if row["format"] != "torchscript") >= 0.95


def _tensors():
    return own_nets.build(own_nets.Gated).state_dict()


def _gated():
    return own_nets.build(own_nets.Gated)


@pytest.mark.parametrize(
    "wrap", [lambda t: t, lambda t: {"state_dict": {f"module.{k}": v for k, v in t.items()}, "epoch": 3}]
)
def test_a_state_dict_is_read_as_tensors(tmp_path, wrap):
    torch.save(wrap(_tensors()), tmp_path / "w.pth")
    torch.manual_seed(9)
    model = checkpoint.load_foreign(tmp_path / "w.pth", nets.with_statistics(own_nets.Gated()))
    x = nets.inputs(2, 3, 32, 32)
    nets.assert_close(model(x), _gated()(x))


@pytest.mark.parametrize("parallel", ["", "module."])
def test_a_part_of_the_model_may_itself_be_called_module(parallel, tmp_path):
    network = nn.Sequential(OrderedDict(module=nn.Linear(2, 3)))
    torch.save({f"{parallel}{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "w.pth")
    found = checkpoint.load_foreign(tmp_path / "w.pth", nn.Sequential(OrderedDict(module=nn.Linear(2, 3))))
    assert torch.equal(found.get_parameter("module.weight"), network.get_parameter("module.weight"))


def test_anothers_safetensors_need_no_header(tmp_path):
    save_file(_tensors(), tmp_path / "w.safetensors")
    assert not checkpoint.has_header(tmp_path / "w.safetensors")
    torch.manual_seed(9)
    model = checkpoint.load_foreign(tmp_path / "w.safetensors", own_nets.Gated())
    x = nets.inputs(2, 3, 32, 32)
    nets.assert_close(model(x), _gated()(x))


class Trap:
    """Unpickled, it would make a folder."""

    def __reduce__(self):
        return os.mkdir, (self.folder,)

    def __init__(self, folder):
        self.folder = folder


@pytest.mark.parametrize(
    ("write", "line"),
    [
        (lambda path: torch.save(Trap(str(path) + "-trap"), path), "holds more than tensors, and opening it would run"),
        (lambda path: torch.save(own_nets.Gated(), path), "holds more than tensors"),
        (lambda path: path.write_bytes(b"PK\x03\x04 torn"), "is not a whole PyTorch file"),
        (lambda path: torch.save([1, 2], path), "holds no state dict"),
        (lambda path: torch.save({"a": torch.zeros(2)}, path), "does not fit the model: it has no tensor"),
        (lambda path: None, "cannot read weights"),
    ],
    ids=["trap", "whole model", "torn", "list", "other names", "missing"],
)
def test_a_file_that_is_no_state_dict_is_refused_and_not_run(tmp_path, write, line):
    path = tmp_path / "w.pth"
    write(path)
    with pytest.raises(BadFileError, match=line):
        checkpoint.load_foreign(path, own_nets.Gated())
    assert not (tmp_path / "w.pth-trap").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--model", "torchvision:resnet81"], "did you mean 'resnet18'"),
        (["--model", "nowhere.py:make"], "there is no file nowhere.py"),
        (["--model", "torchvision:squeezenet1_1", "--data", "digits"], "train them .* and give --weights FILE"),
        (["--model", "torchvision:squeezenet1_1", "--mean", "0.5"], "--mean and --std are given together"),
        (["--model", "torchvision:squeezenet1_1", "--mean", "half", "--std", "1"], "numbers with commas"),
        (["--model", "lenet", "--data", "digits", "--mean", "0.5", "--std", "1"], "recorded with these weights"),
    ],
)  # fmt: skip
def test_each_wrong_request_has_its_own_line(words, line, capfd):
    assert re.search(line, refused(capfd, "quantize", *words))
