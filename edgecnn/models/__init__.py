"""Architectures by name: ``create("depthwise")`` builds one, ``register`` adds one."""

from edgecnn.models.registry import ModelArguments, create, names, register

__all__ = ["ModelArguments", "create", "names", "register"]
