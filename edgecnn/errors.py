"""Every exception edgecnn raises on purpose, and the exit code each becomes.

    EdgeCNNError                 1   something failed that the user can act on
    ├── UsageError               2   what was asked for, or handed in, cannot be used
    │   ├── UnknownNameError     2   no such model, recipe, data set, format ...; names the nearest
    │   ├── BadFileError         2   a file is missing, truncated, foreign or does not fit
    │   ├── OutputExistsError    2   the output is there and ``--force`` was not given
    │   ├── OutputError          2   the output cannot be written (read-only, disk full)
    │   └── MissingExtraError    2   an optional part of edgecnn is not installed
    ├── CheckFailedError         1   an export or a measurement did not pass its gate
    └── UntrustworthyError       3   a run finished but its figures cannot be trusted

A message is one line: what arrived, what is allowed, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EdgeCNNError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(EdgeCNNError):
    """The request or an input cannot be used."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name is not in the set of valid names, of which the message lists the nearest if there are very many.

    ``meant`` is the one that others call so; without it, it is the one that is written most alike.
    """

    most = 40  # that are listed

    def __init__(self, kind: str, name: str, valid: Iterable[str], meant: str | None = None) -> None:
        known = sorted(valid)
        near = [meant] if meant else difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        listed = ", ".join(known)
        if len(known) > self.most:
            nearest = difflib.get_close_matches(name, known, n=12, cutoff=0)
            listed = f"{', '.join(nearest)} and {len(known) - len(nearest)} more"
        super().__init__(f"unknown {kind} '{name}'{hint} (valid: {listed})")
        self.name = name
        self.valid = known


class BadFileError(UsageError):
    """A file is missing, truncated, foreign, or does not fit what it is used for."""


class OutputExistsError(UsageError):
    """An output is already there; nothing is overwritten without being asked to."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} already exists; choose another place or pass --force to replace it")


class OutputError(UsageError):
    """An output cannot be written."""


class MissingExtraError(UsageError):
    """A part of edgecnn that is installed by an extra is needed and absent."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed; run: pip install 'edgecnn[{extra}]'"
        )


class CheckFailedError(EdgeCNNError):
    """A gate (parity, accuracy, structure) did not pass."""


class UntrustworthyError(EdgeCNNError):
    """A run finished, but its figures cannot be trusted."""

    exit_code = 3
