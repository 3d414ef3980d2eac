"""JSON to frozen dataclasses, strictly: every field there, none unknown, each of its declared type.

Files that come from elsewhere are read through this, so an error names the field: ``artifacts[1].bytes must be ...``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from edgecnn.errors import BadFileError, UsageError

# What a terminal would obey, but for a new line and a tab: controls, what turns the direction of text, half a pair.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
KINDS = {
    str: "text", int: "a whole number of at most 64 bits", float: "a finite number", bool: "true or false",
    type(None): "null",
}  # fmt: skip


def read_json(path: Path, limit: int) -> Any:
    """The JSON value in a file of at most ``limit`` bytes; BadFileError if it is missing, larger or not JSON."""
    return parse_json(read_content(path, limit), path)


def read_content(path: Path, limit: int) -> bytes:
    """What is in a file of at most ``limit`` bytes; BadFileError if it is missing or larger."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise BadFileError(f"cannot read {path}: {error.strerror or error}; give another path") from error
    if len(content) > limit:
        raise BadFileError(f"{path} is larger than the {limit} bytes allowed")
    return content


def parse_json(content: bytes, path: Path) -> Any:
    """The JSON value in the ``content`` of ``path``. Raises BadFileError if it is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{path} is not valid JSON ({error}); write it again or copy it again") from error


def check_texts(document: Any, path: Path) -> None:
    """Raise BadFileError for a JSON value of ``path`` with a text that no terminal should be shown."""
    for text in texts(document):
        if _OBEYED.search(text):
            raise BadFileError(f"{path}: a text holds what cannot be printed: {text[:40]!r}")


def texts(document: Any) -> Iterator[str]:
    """All texts in a JSON value of any depth, names of fields too."""
    ahead = [document]
    while ahead:
        value = ahead.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            ahead += value
        elif isinstance(value, dict):
            ahead += [*value, *value.values()]


def schema_of(document: Any, newest: int, path: Path) -> int | None:
    """The schema that the JSON value of ``path`` follows; None where it names none.

    Raises BadFileError for one newer than the ``newest`` known.
    """
    version = document.get("schema") if isinstance(document, dict) else None
    if type(version) is not int:
        return None
    if version > newest:
        raise BadFileError(f"{path}: schema is {version}, newer than {newest}; install a newer edgecnn to read it")
    return version


def decode_file(kind: Any, document: Any, path: Path) -> Any:
    """``decode`` of the JSON value of ``path``, which its errors name, too."""
    try:
        return decode(kind, document)
    except BadFileError as error:
        raise BadFileError(f"{path}: {error}") from error


def decode(kind: Any, value: Any, where: str = "") -> Any:
    """``value`` from JSON as ``kind``: a dataclass, str, int, float, bool, X | Y, tuple[X, ...] or dict[str, X].

    ``where`` is the path of the value for messages. Raises BadFileError naming the field.
    """
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_record(kind, value, where)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            _refuse(where, "a list", value)
        return tuple(decode(get_args(kind)[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            _refuse(where, "an object", value)
        return {name: decode(get_args(kind)[1], item, _join(where, name)) for name, item in value.items()}
    if kind is float and type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value):
        return float(value)
    if kind is not float and type(value) is kind and not (kind is int and abs(value) >= 2**63):
        return value
    _refuse(where, KINDS[kind], value)


def _decode_record(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        _refuse(where, "an object", value)
    hints = get_type_hints(kind)
    for name in value.keys() - hints.keys():
        raise BadFileError(f"{_join(where, name)} is not a known field (valid: {', '.join(hints)})")
    for name in hints.keys() - value.keys():
        raise BadFileError(f"{_join(where, name)} is missing")
    fields = {name: decode(hint, value[name], _join(where, name)) for name, hint in hints.items()}
    try:
        return kind(**fields)
    except UsageError as error:
        raise BadFileError(f"{where}: {error}" if where else str(error)) from error


def _decode_union(kind: Any, value: Any, where: str) -> Any:
    choices = get_args(kind)
    if value is None and type(None) in choices:
        return None
    rest = [choice for choice in choices if choice is not type(None)]
    if len(rest) == 1:
        return decode(rest[0], value, where)
    for choice in rest:
        if type(value) is choice or (isinstance(value, list) and get_origin(choice) is tuple):
            return decode(choice, value, where)
    _refuse(where, " or ".join(KINDS.get(choice, "a list") for choice in choices), value)


def _join(where: str, name: str) -> str:
    return f"{where}.{name[:60]}" if where else name[:60]


def _refuse(where: str, wanted: str, value: Any) -> NoReturn:
    shown = json.dumps(value) if not isinstance(value, (dict, list)) else type(value).__name__
    raise BadFileError(f"{where or 'the document'} must be {wanted}, not {shown[:60]}")
