"""Bundles of a small net with layers inside layers, good and made bad on purpose, by the real converter."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgecnn.export import tflite
from edgecnn.models import ModelArguments
from edgecnn.quantize import passes, ptq
from edgecnn.quantize.fold import fold
from edgecnn.quantize.recipe import FLOAT32, STATIC_W8A8
from edgecnn.runtime.bundle import Bundle, open_bundle
from edgecnn.runtime.internals import grids
from edgecnn.runtime.manifest import Dataset, FileEntry, Image, InputTensor, Manifest, Model, Sample
from edgecnn.runtime.preprocess import OutputSpec
from edgecnn.runtime.tflite_file import read
from tests import nets, tiny_artifacts

ARGUMENTS = ModelArguments(num_classes=4, in_channels=3, image_size=(8, 8))
FILES = {recipe.name: f"net_{recipe.name}.tflite" for recipe in (FLOAT32, STATIC_W8A8)}


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 16, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(self.relu(self.conv1(x))) + x)


class Net(nn.Module):
    """Names of modules that only whole names tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.first = Block()
        self.second = Block()
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(8 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(torch.relu(self.conv1(x))))
        return self.fc(self.pool(x).flatten(1))


def images(count: int, contrast: float, seed: int = 0) -> np.ndarray:
    """Noise around mid-grey with edges, since noise alone averages out; contrast 0 to 1."""
    wild = nets.images(count, (8, 8, 3), seed).astype(np.float32)
    rough = np.repeat(np.repeat(nets.images(count, (2, 2, 3), seed + 1), 4, axis=1), 4, axis=2)
    return np.rint(128 + contrast * ((wild + rough) / 2 - 128)).astype(np.uint8)


def write(folder: Path, change: Callable[[Net], None] = lambda _net: None) -> None:
    """Both files of the net after ``change``, calibrated on images of contrast 0.5."""
    torch.manual_seed(3)
    net = Net().eval()
    with torch.no_grad():
        change(net)
    batches = [images(64, 0.5)]
    graph = ptq.calibrate(net, ARGUMENTS, batches, passes.defaults(STATIC_W8A8))
    plain = passes.apply(fold(net), passes.defaults(FLOAT32), ARGUMENTS)
    (folder / FILES["float32"]).write_bytes(tflite.convert_float(plain, ARGUMENTS))
    (folder / FILES["static_w8a8"]).write_bytes(tflite.convert_quantized(graph, ARGUMENTS))


def bundle(files: Path, folder: Path, contrast: float = 0.5, count: int = 48) -> Bundle:
    """A bundle of these files whose sample images have that contrast."""
    folder.mkdir()
    for name in FILES.values():
        (folder / name).write_bytes((files / name).read_bytes())
    sample = io.BytesIO()
    np.savez(sample, images=images(count, contrast, seed=7), labels=np.zeros(count, np.int64))
    (folder / "sample.npz").write_bytes(sample.getvalue())
    (folder / "labels.txt").write_text("a\nb\nc\nd\n")
    content = (folder / FILES["static_w8a8"]).read_bytes()
    grid = grids(content)[read(content).outputs[0]]
    output = OutputSpec("int8", float(grid.scales[0]), int(grid.zero_points[0]))
    artifacts = (
        tiny_artifacts.artifact(folder / FILES["float32"], "float32", InputTensor(), OutputSpec()),
        tiny_artifacts.artifact(
            folder / FILES["static_w8a8"], "static_w8a8", InputTensor("NHWC", "int8", 1 / 64, 0), output
        ),
    )
    others = (FileEntry.of(folder / "labels.txt"), FileEntry.of(folder / "sample.npz"))
    Manifest(
        edgecnn="0.1.0", created="2026-01-31T12:00:00Z", model=Model("net", {}, 1, 1), dataset=Dataset("d", "", 4),
        input=Image(8, 8, 3), recipe="static_w8a8", labels="labels.txt", sample=Sample("sample.npz", count),
        calibration=None, passes=(), artifacts=artifacts, files=others, tools={},
    ).save(folder)  # fmt: skip
    return open_bundle(folder)


def widen(net: Net) -> None:
    """The first channel of a layer reaches 40 times as far, and the next layer takes that back: the same function."""
    assert net.second.conv1.bias is not None
    net.second.conv1.weight[0] *= 40
    net.second.conv1.bias[0] *= 40
    net.second.conv2.weight[:, 0] /= 40


def kill(net: Net) -> None:
    """A channel that gives nothing for any image."""
    assert net.first.conv1.bias is not None
    net.first.conv1.weight[2] = 0
    net.first.conv1.bias[2] = -1
