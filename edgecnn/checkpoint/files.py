"""The file: named tensors and a header, in safetensors' layout; nothing of what they are for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from edgecnn.checkpoint.header import Header
from edgecnn.errors import BadFileError
from edgecnn.runtime.files import write_bytes

SUFFIX = ".safetensors"
_HEADER_KEY = "edgecnn"
_LONGEST_HEADER = 100_000_000  # bytes; the same bound as safetensors' own


def save(path: Path, header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Write header and tensors to ``path`` atomically. Raises OutputError."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, tensors_to_bytes(plain, metadata={_HEADER_KEY: header.to_json()}))


def load(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors (on the CPU) of a file written by ``save``. Raises BadFileError."""
    content, tensors = read(path, "give one written by 'edgecnn train'")
    return _read_header(content, path), tensors


def read(path: Path, advice: str) -> tuple[bytes, dict[str, Tensor]]:
    """A safetensors file and the tensors in it. Raises BadFileError, with ``advice`` for a file that is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFileError(f"cannot read weights {path}: {error.strerror}; give a {SUFFIX} file") from error
    try:
        return content, tensors_from_bytes(content)
    except (SafetensorError, KeyError) as error:  # a KeyError for a type of numbers that torch has not
        raise BadFileError(f"{path} is not a whole safetensors file ({error}); {advice}") from error


def _read_header(content: bytes, path: Path) -> Header:
    # The layout is public: 8 bytes of little-endian length, then a JSON object (safetensors README, "Format").
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    if _HEADER_KEY not in metadata:
        raise BadFileError(f"{path} holds tensors but no edgecnn header; give a file written by 'edgecnn train'")
    return Header.from_json(metadata[_HEADER_KEY], path)


def has_header(path: Path) -> bool:
    """True for a file that ``save`` wrote, as far as its beginning tells; False also for one that is not there."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return length < _LONGEST_HEADER and _HEADER_KEY in (json.loads(file.read(length)).get("__metadata__") or {})
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


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
