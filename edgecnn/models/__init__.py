"""Architectures by name: ``create("depthwise")`` builds one, ``register`` adds one; ``own`` brings others' models."""

from edgecnn.models.arguments import ModelArguments
from edgecnn.models.normalization import Normalization
from edgecnn.models.registry import (
    check,
    create,
    default_normalization,
    is_built_in,
    is_own,
    known,
    names,
    register,
    runs_code,
    short_name,
)

__all__ = [
    "ModelArguments",
    "Normalization",
    "check",
    "create",
    "default_normalization",
    "is_built_in",
    "is_own",
    "known",
    "names",
    "register",
    "runs_code",
    "short_name",
]
