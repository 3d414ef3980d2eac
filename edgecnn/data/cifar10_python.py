"""Finds the pixels and labels in a file of CIFAR-10's official Python layout without unpickling it.

Such a file is a pickle, and unpickling runs whatever code it names. Here it is only read as tokens
(``pickletools.genops``, which executes nothing). Plain values are kept; a function the file wants called becomes a
note of its name and arguments; a long byte string becomes its place in the file, so that pixels can be mapped.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import BadFileError

_MOST_TOKENS = 200_000  # the official files have about 40,000
_ARRAY = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_NAMES = {*_ARRAY, "numpy ndarray", "numpy dtype"}
_PLAIN = {
    *("BININT", "BININT1", "BININT2", "SHORT_BINSTRING", "SHORT_BINBYTES"),
    *("BINUNICODE", "SHORT_BINUNICODE", "NONE", "NEWTRUE", "NEWFALSE"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}


@dataclass(frozen=True)
class _Blob:
    """A long byte string: its place in the file, in bytes."""

    offset: int
    size: int


@dataclass
class _Call:
    """A call that an unpickler would have made, and the state it would have set on the result."""

    function: Any
    arguments: Any
    state: Any = None


def locate(path: Path, shape: tuple[int, int]) -> tuple[int, np.ndarray]:
    """Offset (bytes) of the uint8 pixels of ``shape`` (images, pixels) in ``path``, and the labels int64 [images].

    Raises BadFileError for anything but a dict with ``data``, a C-ordered uint8 array, and ``labels``, a list.
    """
    try:
        content = _read(path.read_bytes())
        pixels = _pixels(content["data"], shape)
        labels = content["labels"]
        if type(labels) is not list or len(labels) != shape[0] or any(type(label) is not int for label in labels):
            raise ValueError(f"its labels are not a list of {shape[0]:,} integers")
        return pixels.offset, np.array(labels, np.int64)
    except (ValueError, TypeError, LookupError, AttributeError, OSError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise BadFileError(f"{path} is damaged or not an official CIFAR-10 batch ({reason}): fetch it again") from error


def _pixels(array: Any, shape: tuple[int, int]) -> _Blob:
    """The bytes of a numpy array, which pickles as ``_reconstruct(...)`` with a state."""
    if type(array) is not _Call or type(array.function) is not str or array.function not in _ARRAY:
        raise ValueError("its data are not a numpy array")
    _version, found_shape, dtype, fortran_order, blob = array.state
    if found_shape != shape or _text(dtype.arguments[0]) != "u1" or fortran_order or type(blob) is not _Blob:
        raise ValueError(f"its data are not a row-by-row uint8 array of {shape}")
    if blob.size != shape[0] * shape[1]:
        raise ValueError(f"its data have {blob.size:,} bytes instead of {shape[0] * shape[1]:,}")
    return blob


def _text(value: Any) -> str:
    """A string token, which may be bytes."""
    if type(value) not in (str, bytes):
        raise ValueError("a key or name is not a string")
    return value.decode("latin-1") if type(value) is bytes else value


def _known(name: str) -> str:
    """A function or class the file names, if the official files name it too."""
    if name not in _NAMES:
        raise ValueError(f"it names '{name}'")
    return name


def _read(content: bytes) -> dict[str, Any]:
    """The dict a pickle holds, with notes in place of calls. Raises for every token the official files lack."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any
    position: Any

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for count, (token, argument, position) in enumerate(pickletools.genops(content)):
        if count > _MOST_TOKENS:
            raise ValueError(f"more than {_MOST_TOKENS:,} tokens")
        match token.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                break
            case "MARK":
                marks.append(len(stack))
            case "BINSTRING" | "BINBYTES":
                stack.append(_Blob(position + 5, len(argument)))  # one byte of token, four of length
            case name if name in _PLAIN:
                stack.append(_CONSTANTS.get(name, argument))
            case name if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(token.name[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "APPENDS":
                items = since_mark()
                stack[-1].extend(items)
            case "SETITEM":
                key, value = stack[-2:]
                del stack[-2:]
                stack[-1][_text(key)] = value
            case "SETITEMS":
                items = since_mark()
                stack[-1].update(zip(map(_text, items[::2]), items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_known(argument))
            case "STACK_GLOBAL":
                stack[-2:] = [_known(f"{_text(stack[-2])} {_text(stack[-1])}")]
            case "REDUCE":
                stack[-2:] = [_Call(*stack[-2:])]
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case name:
                raise ValueError(f"unexpected token {name} at byte {position}")
    result = stack.pop()
    if type(result) is not dict or stack:
        raise ValueError("it does not hold one dict")
    return result
