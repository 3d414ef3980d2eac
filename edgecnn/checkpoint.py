"""Weights on disk: safetensors with a JSON header, never pickle.

Weights of a model from outside may also be another's safetensors file, or a PyTorch state dict, which is read by the
one loader of torch that builds tensors and nothing else.

The header says what the tensors are: model and arguments, data set, recipe, metrics, versions, and the command that
made them. A checkpoint of an unfinished training holds the optimizer's and the averaged weights' tensors as well.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import UnionType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

import edgecnn
from edgecnn import models
from edgecnn.errors import BadFileError, UnknownNameError, UsageError
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.widths import Widths, resize, widths_from_json
from edgecnn.runtime.files import write_bytes

_HEADER_KEY = "edgecnn"
_ORIGIN = ("model", "dataset", "recipe", "command", "metrics", "training", "widths", "teacher", "start")
_FORMAT = 1
SUFFIX = ".safetensors"
STATE_DICT_SUFFIXES = (".pth", ".pt")
_LONGEST_HEADER = 100_000_000  # bytes; the same bound as safetensors' own
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts put a state dict


def tool_versions(*packages: str) -> dict[str, str]:
    """Versions of Python, edgecnn and those of ``packages`` that are installed."""
    found = {"python": platform.python_version(), "edgecnn": edgecnn.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Header:
    """What a weights file says about itself.

    ``recipe`` are the training settings, ``metrics`` what was measured (accuracies are fractions of
    ``test_images`` or ``validation_images``), ``training`` the machine, the seconds it took and the epoch reached.
    ``normalization`` is the input normalization that the architecture was trained with, None for edgecnn's own.
    ``quantization`` says what weights were trained to be quantized for, and is empty for float weights. ``widths`` are
    the channels of those layers that were pruned, and empty for a whole network. ``teacher`` is the ``origin`` of the
    network that was learned from, and has those of several under 'together'; ``start`` is that of the weights that
    training began with. Each is empty without one.
    """

    model: str
    arguments: ModelArguments
    dataset: str
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=lambda: tool_versions("torch"))
    format: int = _FORMAT
    normalization: Normalization | None = None
    quantization: dict[str, Any] = field(default_factory=dict)
    widths: Widths = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)

    @property
    def pruned_to(self) -> str:
        """The target that the network was pruned to, such as 'macs:0.5'; empty for one that was not pruned.

        One that training went on from a pruned network is still of its shape, and goes by its target.
        """
        recipes = [stage.get("recipe", {}) for stage in self.stages()]
        return next((str(each["pruning"].get("target", "")) for each in recipes if "pruning" in each), "")

    def stages(self) -> Iterator[dict[str, Any]]:
        """Recipe and training of these weights, then of those that training began with, and so on."""
        stage = {"recipe": self.recipe, "training": self.training, "start": self.start}
        while stage:
            yield stage
            stage = stage.get("start", {})

    @property
    def origin(self) -> dict[str, Any]:
        """How the weights were made, as JSON values: for the headers of others that were made from them."""
        whole = json.loads(self.to_json())
        return {name: whole[name] for name in _ORIGIN if name in whole}

    def to_json(self) -> str:
        """One JSON object."""
        value = asdict(self) | {"arguments": self.arguments.to_json()}
        del value["normalization"]  # absent where there is none, as in files that are older than it
        if self.normalization is not None:
            value["normalization"] = self.normalization.to_json()
        for name in ("widths", "teacher", "start"):
            if not value[name]:
                del value[name]
        return json.dumps(value, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> Header:
        """The inverse of ``to_json``; raises BadFileError naming ``path`` for anything else."""
        try:
            value = json.loads(text)
            written = value["format"]
            if written == _FORMAT:
                value["arguments"] = ModelArguments.from_json(value["arguments"])
                value["classes"] = tuple(value["classes"])
                if value.get("normalization") is not None:
                    value["normalization"] = Normalization.from_json(value["normalization"])
                value["widths"] = widths_from_json(value.get("widths", {}))
                return _typed(cls(**value))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, UsageError) as error:
            raise BadFileError(f"{path} has a header that edgecnn did not write ({error!r})") from error
        raise BadFileError(f"{path} has header format {written}; this edgecnn reads format {_FORMAT}: upgrade edgecnn")


def _typed(header: Header) -> Header:
    """The header; raises TypeError where what it says is not of the kind that it should be."""
    whole = (header.recipe, header.metrics, header.training, header.versions, header.quantization, header.teacher)
    _check_kind(dict, *whole, header.start)
    _check_kind(dict, header.recipe.get("augmentation", {}))
    for stage in header.stages():
        _check_kind(dict, stage)
        recipe = stage.get("recipe", {})
        _check_kind(dict, recipe)
        _check_kind(dict, recipe.get("pruning", {}))
    shares = (header.recipe.get(name, 0.0) for name in ("validation", "distillation"))
    _check_kind(int | float, *header.metrics.values(), *shares)
    _check_kind(str, header.model, header.dataset, header.command, header.created, *header.classes)
    return header


def _check_kind(kind: type | UnionType, *values: object) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{str(value)[:40]!r} is a {type(value).__name__}")


def save(path: Path, header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Write header and tensors to ``path`` atomically. Raises OutputError."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, tensors_to_bytes(plain, metadata={_HEADER_KEY: header.to_json()}))


def load(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors (on the CPU) of a file written by ``save``. Raises BadFileError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"cannot read weights {path}: {error.strerror}; give a {SUFFIX} file") from error
    try:
        tensors = tensors_from_bytes(content)
    except (SafetensorError, KeyError) as error:  # a KeyError for a type of numbers that torch has not
        raise BadFileError(
            f"{path} is not a whole safetensors file ({error}); give one written by 'edgecnn train'"
        ) from error
    return _read_header(content, path), tensors


def _read_header(content: bytes, path: Path) -> Header:
    # The layout is public: 8 bytes of little-endian length, then a JSON object (safetensors README, "Format").
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    if _HEADER_KEY not in metadata:
        raise BadFileError(f"{path} holds tensors but no edgecnn header; give a file written by 'edgecnn train'")
    return Header.from_json(metadata[_HEADER_KEY], path)


def fit(model: nn.Module, tensors: Mapping[str, Tensor], source: object) -> None:
    """Copy ``tensors`` into ``model``. Raises BadFileError naming the first tensor that does not fit."""
    wanted = model.state_dict()
    check_fits(wanted, tensors, source)
    wanted.update(tensors)  # the model's own dict, as it tells the versions of its modules
    model.load_state_dict(wanted)


def check_fits(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: object) -> None:
    """Raise BadFileError naming the first of ``tensors`` that is not as a model's state dict ``wanted`` has it."""
    for name, tensor in wanted.items():
        if name not in tensors:
            raise BadFileError(f"{source} does not fit the model: it has no tensor '{name}' {_shape(tensor)}")
        if tensors[name].shape != tensor.shape:
            raise BadFileError(
                f"{source} does not fit the model: tensor '{name}' is {_shape(tensors[name])} in the file "
                f"and {_shape(tensor)} in the model"
            )
        given = tensors[name]
        if given.layout is not torch.strided or given.is_quantized or given.is_complex():
            raise BadFileError(f"{source}: tensor '{name}' is sparse, quantized or complex; write it as a plain one")
    for name in tensors:
        if name not in wanted:
            raise BadFileError(f"{source} does not fit the model: the model has no tensor '{name}'")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def load_model(path: Path, expected_model: str | None = None) -> tuple[nn.Module, Header]:
    """The model a weights file holds, in evaluation mode, and its header.

    A model that is a user's code is built only if ``expected_model`` names such a model: opening a file runs nothing
    that the file names. Raises BadFileError if the file is broken, belongs to another model than ``expected_model``,
    does not fit, or holds weights that were trained for quantization, which are no float weights any more; UsageError
    for a user's model that is not named.
    """
    return model_of(path, *load(path), expected_model)


def model_of(
    path: Path, header: Header, tensors: Mapping[str, Tensor], expected_model: str | None = None
) -> tuple[nn.Module, Header]:
    """``load_model`` of what ``load`` gave for ``path``."""
    if header.quantization:
        raise BadFileError(f"{path} holds weights that '--qat' trained, no float weights; give it as --qat-weights")
    if expected_model is None and models.runs_code(header.model):
        raise UsageError(f"{path} holds weights of '{header.model}', which is code; name it with --model to let it run")
    if expected_model is not None and expected_model != header.model:
        # Another architecture is told by the first tensor that differs, where one does.
        named = _fitted(expected_model, header, path, tensors, f"{path} (weights of '{header.model}')")
        if not (models.runs_code(expected_model) and models.runs_code(header.model)):
            raise BadFileError(
                f"{path} holds weights of '{header.model}', not of '{expected_model}'; choose --model '{header.model}'"
            )
        return named.eval(), replace(header, model=expected_model)  # the same code, from another folder
    return _fitted(header.model, header, path, tensors, str(path)).eval(), header


def _fitted(name: str, header: Header, path: Path, tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """The architecture, with layers as narrow as the header says, and with ``tensors``, which are from ``source``.

    A design is first made without memory and held against them: a small file may name an enormous network.
    Raises BadFileError for what does not fit.
    """

    def build() -> nn.Module:
        model = models.create(name, header.arguments, header.normalization)
        try:
            return resize(model, header.widths, header.arguments)
        except UsageError as error:
            raise BadFileError(f"{path} does not fit '{name}': {error}") from error

    if models.is_design(name):
        with torch.device("meta"):
            check_fits(build().state_dict(), tensors, source)
    model = build()
    fit(model, tensors, source)
    return model


def has_header(path: Path) -> bool:
    """True for a file that ``save`` wrote, as far as its beginning tells; False also for one that is not there."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return length < _LONGEST_HEADER and _HEADER_KEY in (json.loads(file.read(length)).get("__metadata__") or {})
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


def load_foreign(path: Path, model: nn.Module) -> nn.Module:
    """Put the tensors of a file that edgecnn did not write into ``model``; gives it in evaluation mode.

    It is a safetensors file, or a PyTorch file (.pth, .pt) with a state dict, alone or under one of the usual keys;
    'module.' before every name, which parallel training leaves, is ignored. Raises BadFileError if it cannot be read,
    holds more than tensors, or does not fit.
    """
    tensors = _state_dict(path) if path.suffix in STATE_DICT_SUFFIXES else _foreign_safetensors(path)
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    fit(model, tensors, path)
    return model.eval()


def _foreign_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return tensors_from_bytes(path.read_bytes())
    except OSError as error:
        raise BadFileError(f"cannot read weights {path}: {error.strerror}; give a {SUFFIX} file") from error
    except SafetensorError as error:
        raise BadFileError(f"{path} is not a whole safetensors file ({error}); check or copy it again") from error


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            start = file.read(2)
        if start != b"PK" and start[:1] != b"\x80":  # a zip archive, or a pickle as older PyTorch wrote it
            raise BadFileError(f"{path} is no PyTorch file; was something else downloaded in its place?")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadFileError(f"cannot read weights {path}: {error.strerror}; give a {SUFFIX} file") from error
    except pickle.UnpicklingError as error:
        raise BadFileError(
            f"{path} holds more than tensors, and opening it would run its code; write the weights alone with "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors') and give that"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadFileError(f"{path} is not a whole PyTorch file ({reason})") from error
    for key in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise BadFileError(f"{path} holds no state dict (names and tensors); save model.state_dict()")
    return dict(found)


def digest(weights: nn.Module | Mapping[str, Tensor]) -> str:
    """Hex SHA-256 of the names and values of all tensors of a model or file, whatever a header says beside them."""
    found = hashlib.sha256()
    for name, tensor in sorted((weights.state_dict() if isinstance(weights, nn.Module) else weights).items()):
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def annotate(path: Path, metrics: Mapping[str, float], place: Path | None = None) -> Header:
    """Add ``metrics`` to the header of a weights file, replacing those of the same names; gives the new header.

    Tensors and all else stay as they are; the file is replaced atomically, or written to ``place`` and left as it was.
    Raises BadFileError or OutputError.
    """
    header, tensors = load(path)
    more = replace(header, metrics=header.metrics | dict(metrics))
    save(place or path, more, tensors)
    return more


def shipped_folder() -> Path:
    """Where the weights that come with edgecnn lie: DATASET/MODEL.safetensors, and DATASET/MODEL.KIND.safetensors."""
    return Path(str(resources.files("edgecnn"))) / "weights"


def check_known(kind: str, given: Path, names: Iterable[str]) -> None:
    """Raise UnknownNameError if ``given`` is a plain word, but neither one of ``names`` nor a file that is there."""
    names = list(names)
    if given.name == str(given) not in names and not given.suffix and not given.exists():
        raise UnknownNameError(kind, str(given), [*names, f"FILE{SUFFIX}"])


def shipped_path(model: str, dataset: str, kind: str = "") -> Path:
    """Where such weights lie if they ship; see ``shipped``."""
    mark = kind and "." + kind.replace(":", "")
    return shipped_folder() / dataset / f"{model}{mark}{SUFFIX}"


def shipped(model: str, dataset: str, kind: str = "") -> Path | None:
    """Path of the weights that come with edgecnn for this model and data set, or None. A folder's name is none.

    ``kind`` is the name of a recipe, for those that were trained to be quantized by it; or what a network was pruned
    to, such as 'macs:0.5', for those.
    """
    path = shipped_path(model, dataset, kind)
    named = Path(dataset).name == dataset != ".."
    return path if named and path.is_file() else None


def all_shipped(model: str) -> list[tuple[Path, Header]]:
    """Path and header of all shipped float weights of ``model``: whole ones by data set, then pruned ones.

    Raises BadFileError.
    """
    paths = (path for pattern in ("", ".*") for path in shipped_folder().glob(f"*/{model}{pattern}{SUFFIX}"))
    found = [(path, load(path)[0]) for path in paths]
    floats = [(path, header) for path, header in found if not header.quantization]
    return sorted(floats, key=lambda each: (each[1].pruned_to, each[0].parent.name))
