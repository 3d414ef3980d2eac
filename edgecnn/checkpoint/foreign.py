"""Weights that edgecnn did not write: another's safetensors file, or a PyTorch state dict.

The latter is read by the one loader of torch that builds tensors and nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecnn.checkpoint.files import SUFFIX, read
from edgecnn.checkpoint.network import fit
from edgecnn.errors import BadFileError

STATE_DICT_SUFFIXES = (".pth", ".pt")
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts put a state dict


def load_foreign(path: Path, model: nn.Module) -> nn.Module:
    """Put the tensors of a file that edgecnn did not write into ``model``; gives it in evaluation mode.

    It is a safetensors file, or a PyTorch file (.pth, .pt) with a state dict, alone or under one of the usual keys;
    'module.' before every name, which parallel training leaves, is ignored unless the model has such names itself.
    Raises BadFileError if it cannot be read, holds more than tensors, or does not fit.
    """
    tensors = _state_dict(path) if path.suffix in STATE_DICT_SUFFIXES else read(path, "check or copy it again")[1]
    own = tensors.keys() & model.state_dict().keys()
    if tensors and not own and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    fit(model, tensors, path)
    return model.eval()


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise BadFileError(f"cannot read weights {path}: {error.strerror}; give a {SUFFIX} file") from error
    if start != b"PK" and start[:1] != b"\x80":  # a zip archive, or a pickle as older PyTorch wrote it
        raise BadFileError(f"{path} is no PyTorch file; was something else downloaded in its place?")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadFileError(
            f"{path} holds more than tensors, and opening it would run its code; write the weights alone with "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors') and give that"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        # an OSError for an archive that was cut off, of which torch looks for the end before the beginning
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
