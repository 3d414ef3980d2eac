"""From the tensors of a file to the network that they are the weights of."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from edgecnn import models
from edgecnn.checkpoint.files import load
from edgecnn.checkpoint.header import Header
from edgecnn.errors import BadFileError, UsageError
from edgecnn.models.widths import resize


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

    What is built in is first made without memory and held against them: a small file may name an enormous network.
    Raises BadFileError for what does not fit.
    """

    def build(device: AbstractContextManager[object]) -> nn.Module:
        with device:
            model = models.create(name, header.arguments, header.normalization)
        try:
            return resize(model, header.widths, header.arguments)
        except UsageError as error:
            raise BadFileError(f"{path} does not fit '{name}': {error}") from error

    if models.is_built_in(name):
        check_fits(build(torch.device("meta")).state_dict(), tensors, source)
    model = build(nullcontext())
    fit(model, tensors, source)
    return model
