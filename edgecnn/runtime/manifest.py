"""manifest.json: what the workstation tells the device about a bundle.

It states the input and output of every artifact, how an image becomes a tensor, where the model came from, what
it scored, and the SHA-256 of every file. ``manifest.schema.json`` beside this file says the same as JSON Schema.
Floating-point tensors carry scale 1 and zero point 0, so that one formula fits all.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.files import sha256, write_bytes
from edgecnn.runtime.made_for import MadeFor
from edgecnn.runtime.preprocess import INPUT_DIVISOR, INPUT_OFFSET, InputSpec, OutputSpec
from edgecnn.runtime.records import decode_file, parse_json, read_content, schema_of, texts

SCHEMA = 4
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 1 << 20  # bytes
FILE_LIMIT = 1 << 30  # bytes
TOTAL_LIMIT = 1 << 32  # bytes
FILES_LIMIT = 256
MOST_IMAGES = 1_000_000  # of an accuracy; exact tests on more take minutes
SYNTHETIC = "synthetic"
SPLITS = ("train", SYNTHETIC)
FORMATS = ("tflite", "torchscript", "onnx")
COLORS = {"RGB": 3, "L": 1, "LA": 2, "RGBA": 4}

Scalar = str | int | float | bool | None
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _check_file(name: str, size: int, digest: str) -> None:
    _check(
        PLAIN_NAME.fullmatch(name) is not None and name != MANIFEST,
        f"file is {name[:60]!r}, but must be the plain name of a file in the bundle (letters, digits, . _ + -)",
    )
    _check(0 < size <= FILE_LIMIT, f"bytes is {size} for {name} (valid: 1 to {FILE_LIMIT})")
    _check(_is_digest(digest), f"sha256 of {name} must be 64 lower-case hex digits")


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


@dataclass(frozen=True)
class Model:
    """Registry name, the arguments it was built with, parameter count and multiply-accumulates per image."""

    name: str
    arguments: dict[str, Scalar | tuple[Scalar, ...]]
    parameters: int
    macs: int

    def __post_init__(self) -> None:
        _check(self.parameters >= 0, f"parameters is {self.parameters}, but cannot be negative")
        _check(self.macs >= 0, f"macs is {self.macs}, but cannot be negative")


@dataclass(frozen=True)
class Dataset:
    """The data set it was trained for and scored on, how that was chosen, and its number of classes."""

    name: str
    note: str
    classes: int

    def __post_init__(self) -> None:
        _check(2 <= self.classes <= 100_000, f"classes is {self.classes} (valid: 2 to 100000)")


@dataclass(frozen=True)
class Image:
    """The image it takes, in pixels, and real value = (u8 - offset) / divisor."""

    height: int
    width: int
    channels: int
    color: str = "RGB"
    offset: float = INPUT_OFFSET
    divisor: float = INPUT_DIVISOR

    def __post_init__(self) -> None:
        InputSpec(self.height, self.width, self.channels, offset=self.offset, divisor=self.divisor)
        _check(self.color in COLORS, f"color is '{self.color}' (valid: {', '.join(COLORS)})")
        _check(
            self.channels == COLORS[self.color],
            f"channels is {self.channels}, but color {self.color} has {COLORS[self.color]}",
        )


@dataclass(frozen=True)
class InputTensor:
    """Memory layout and quantization of an artifact's input."""

    layout: str = "NHWC"
    dtype: str = "float32"
    scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        InputSpec(1, 1, 1, self.layout, self.dtype, self.scale, self.zero_point)


@dataclass(frozen=True)
class Accuracy:
    """How many of how many test images were right."""

    correct: int
    images: int

    def __post_init__(self) -> None:
        _check(0 < self.images <= MOST_IMAGES, f"images is {self.images}, but must be 1 to {MOST_IMAGES}")
        _check(0 <= self.correct <= self.images, f"correct is {self.correct} of {self.images} images")


@dataclass(frozen=True)
class Artifact:
    """One model file. ``gate`` holds what the parity gate measured; ``engine`` the quantized engine of TorchScript.

    ``float_layers`` are the layers of a quantized file that stayed float32, by the names of the model's modules.
    """

    file: str
    format: str
    recipe: str
    bytes: int
    sha256: str
    input: InputTensor
    output: OutputSpec
    accuracy: Accuracy | None = None
    gate: dict[str, Scalar] = field(default_factory=dict)
    engine: str | None = None
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_file(self.file, self.bytes, self.sha256)
        _check(self.format in FORMATS, f"format is '{self.format}' (valid: {', '.join(FORMATS)})")
        _check(bool(self.recipe), "recipe is empty")
        _check(all(self.float_layers), "float_layers has an empty name")
        for name, value in self.gate.items():
            _check(not isinstance(value, float) or math.isfinite(value), f"gate.{name} is {value}, but must be finite")


@dataclass(frozen=True)
class FileEntry:
    """Any other file of the bundle."""

    file: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _check_file(self.file, self.bytes, self.sha256)

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """The entry of a file that is there."""
        return cls(path.name, path.stat().st_size, sha256(path))


@dataclass(frozen=True)
class Sample:
    """The file of test images and labels to score with on the device, and how many it holds."""

    file: str
    images: int

    def __post_init__(self) -> None:
        _check(1 <= self.images <= 100_000, f"images is {self.images} (valid: 1 to 100000)")


@dataclass(frozen=True)
class Calibration:
    """Which images the ranges were taken from: those of ``split``, or, without a data set, synthetic ones."""

    images: int
    seed: int
    split: str

    def __post_init__(self) -> None:
        _check(self.images >= 1, f"images is {self.images}, but must be at least 1")
        _check(self.split in SPLITS, f"split is '{self.split[:60]}' (valid: {', '.join(SPLITS)})")


@dataclass(frozen=True)
class Qat:
    """How the weights of the quantized artifacts were trained on; ``float_weights`` is the digest of what they were."""

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    float_weights: str

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, f"epochs is {self.epochs}, but must be at least 1")
        _check(self.learning_rate > 0, f"learning_rate is {self.learning_rate}, but must be above 0")
        _check(self.batch_size >= 1, f"batch_size is {self.batch_size}, but must be at least 1")
        _check(self.seed >= 0, f"seed is {self.seed}, but cannot be negative")
        _check(_is_digest(self.float_weights), "float_weights must be 64 lower-case hex digits")


@dataclass(frozen=True)
class Manifest:
    """The whole of manifest.json. ``recipe`` is that of the bundle's main artifact, ``created`` UTC in ISO 8601.

    ``sample`` is null, and no artifact has an accuracy, where the bundle was made without a data set.
    ``qat`` is null where quantization trained nothing, ``made_for`` where files were not chosen for a target.
    With ``mirrored`` every artifact gives the mean of the logits of an image and of its mirror image.

    Raises UsageError, naming the field, when the parts do not fit together.
    """

    edgecnn: str
    created: str
    model: Model
    dataset: Dataset
    input: Image
    recipe: str
    labels: str
    sample: Sample | None
    calibration: Calibration | None
    passes: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    files: tuple[FileEntry, ...]
    tools: dict[str, str]
    qat: Qat | None = None
    made_for: MadeFor | None = None
    mirrored: bool = False
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check(self.schema == SCHEMA, f"schema is {self.schema}, but this edgecnn knows schema {SCHEMA}")
        _check(_is_utc(self.created), f"created is {self.created[:40]!r}, but must be UTC like 2026-01-31T12:00:00Z")
        names = [entry.file for entry in self.listed]
        _check(len(names) <= FILES_LIMIT, f"artifacts and files list {len(names)} files (valid: up to {FILES_LIMIT})")
        total = sum(entry.bytes for entry in self.listed)
        _check(total <= TOTAL_LIMIT, f"artifacts and files have {total} bytes (valid: up to {TOTAL_LIMIT})")
        _check(len(names) == len(set(names)), "artifacts and files list a file twice")
        others = [entry.file for entry in self.files]
        _check(self.labels in others, f"labels is {self.labels[:60]!r}, which is not in files")
        if self.sample is not None:
            _check(self.sample.file in others, f"sample.file is {self.sample.file[:60]!r}, which is not in files")
        recipes = [artifact.recipe for artifact in self.artifacts]
        _check(self.recipe in recipes, f"recipe is '{self.recipe}', but no artifact has it ({', '.join(recipes)})")

    @property
    def listed(self) -> list[Artifact | FileEntry]:
        """Every file of the bundle but the manifest itself."""
        return [*self.artifacts, *self.files]

    def input_spec(self, artifact: Artifact) -> InputSpec:
        """The whole input of one artifact: the image of the manifest and the tensor of the artifact."""
        image, tensor = self.input, artifact.input
        return InputSpec(
            image.height, image.width, image.channels, tensor.layout, tensor.dtype, tensor.scale, tensor.zero_point,
            image.offset, image.divisor,
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``. Raises OutputError when the file system refuses."""
        document = {"schema": self.schema} | dataclasses.asdict(self)
        text = json.dumps(document, indent=2, allow_nan=False)
        write_bytes(folder / MANIFEST, (text + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read ``manifest.json`` of a bundle. Raises BadFileError naming the file and the field."""
        return cls.parse(read_manifest(folder), folder / MANIFEST)

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Manifest:
        """What ``path`` holds, also of schema 1, which lacked ``qat``, 2, which lacked more, and 3: ``mirrored``.

        Raises BadFileError naming the file and the field.
        """
        document = parse_json(content, path)
        version = schema_of(document, SCHEMA, path)
        for text in texts(document):  # they are shown on terminals
            if not text.replace("\n", " ").isprintable():
                raise BadFileError(f"{path}: a text holds what cannot be printed: {text[:40]!r}")
        if version in (1, 2, 3):
            document = _brought_up(document)
        manifest: Manifest = decode_file(cls, document, path)
        return manifest


def read_manifest(folder: Path) -> bytes:
    """What is in the ``manifest.json`` of a bundle. Raises BadFileError."""
    path = folder / MANIFEST
    if os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):
        raise BadFileError(f"{path} is a link or no plain file; copy the bundle itself")
    if not os.path.lexists(path):
        if not os.path.exists(folder):
            what = "is not there"
        else:
            what = f"has no {MANIFEST}" if os.path.isdir(folder) else "is no folder"
        raise BadFileError(f"{folder} {what}; give the folder of a bundle, as 'edgecnn quantize' makes it")
    return read_content(path, MANIFEST_LIMIT)


def _brought_up(document: dict[str, Any]) -> dict[str, Any]:
    """A document of an earlier schema with what came later; as it is, to be refused, if it has some of that already."""
    version, artifacts = document["schema"], document.get("artifacts")
    if not isinstance(artifacts, list) or not all(isinstance(each, dict) for each in artifacts):
        return document
    added: dict[str, Any] = {"mirrored": False}
    if version < 3:
        added |= {"made_for": None}
    if version < 2:
        added |= {"qat": None}
    listed: dict[str, Any] = {"float_layers": []} if version < 3 else {}
    if added.keys() & document.keys() or any(listed.keys() & each.keys() for each in artifacts):
        return document
    return document | added | {"schema": SCHEMA, "artifacts": [each | listed for each in artifacts]}


def _is_utc(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return moment.utcoffset() is not None and not moment.utcoffset()
