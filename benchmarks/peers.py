"""MLPerf Tiny's own ResNet-8 files as a bundle, so that they are measured and scored as ours are.

They take pixels from 0 to 255 as they are, and know the classes of CIFAR-10 in its own order. The files are those of
https://github.com/mlcommons/tiny, benchmark/training/image_classification/trained_models.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from edgecnn.errors import BadFileError, UsageError
from edgecnn.export.flatbuffer import TFLiteGraph
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.files import sha256
from edgecnn.runtime.litert import LiteRTRunner
from edgecnn.runtime.manifest import Artifact, FileEntry, Image, InputTensor, Manifest, Model

NAME = "mlperf_tiny_resnet8"
FILES = {"float32": "resnet8_float32.tflite", "static_w8a8": "resnet8_int8.tflite"}
DATA = "cifar10"
IMAGE = Image(32, 32, 3, offset=0, divisor=1)


def write_peers(peers: Path, folder: Path, like: Path) -> Path:
    """Write bundle ``folder`` of the files in ``peers`` or its folder mlperf_tiny, with the sample of bundle ``like``.

    Raises BadFileError when a file is not there or does not run, UsageError unless ``like`` is of CIFAR-10.
    """
    ours = open_bundle(like).manifest
    if ours.dataset.name != DATA:
        raise UsageError(f"the peers were trained on {DATA}, not on {ours.dataset.name}; leave --peers out")
    if ours.sample is None:
        raise UsageError(f"{like} holds no test images to score the peers on; make it with --data {DATA}")
    found = peers / "mlperf_tiny" if (peers / "mlperf_tiny").is_dir() else peers
    folder.mkdir()
    for name in (ours.labels, ours.sample.file):
        shutil.copyfile(like / name, folder / name)
    artifacts = tuple(_artifact(found / name, folder / name, recipe) for recipe, name in FILES.items())
    parameters, macs = _size((folder / FILES["float32"]).read_bytes())
    Manifest(
        edgecnn=ours.edgecnn,
        created=ours.created,
        model=Model(NAME, {}, parameters, macs),
        dataset=ours.dataset,
        input=IMAGE,
        recipe="static_w8a8",
        labels=ours.labels,
        sample=ours.sample,
        calibration=None,
        qat=None,
        passes=(),
        artifacts=artifacts,
        files=tuple(FileEntry.of(folder / name) for name in (ours.labels, ours.sample.file)),
        tools={},
    ).save(folder)
    return folder


def _artifact(source: Path, copy: Path, recipe: str) -> Artifact:
    if not source.is_file():
        raise BadFileError(f"{source} is not there; give --peers a folder with {', '.join(FILES.values())}")
    shutil.copyfile(source, copy)
    with LiteRTRunner(copy, None, None, 1) as runner:
        tensor, output = runner.input, runner.output
    described = InputTensor(tensor.layout, tensor.dtype, tensor.scale, tensor.zero_point)
    return Artifact(copy.name, "tflite", recipe, copy.stat().st_size, sha256(copy), described, output)


def _size(content: bytes) -> tuple[int, int]:
    """Parameters, with a bias for each channel, and multiply-accumulates of plain convolutions and linear layers."""
    graph = TFLiteGraph(content)
    layers = list(graph.layers())
    outputs = [int(np.prod(graph.subgraph.tensors[layer.output].shape)) for layer in layers]
    parameters = sum(layer.weight.size + len(layer.weight) for layer in layers)
    return parameters, sum(count * layer.weight[0].size for count, layer in zip(outputs, layers, strict=True))
