"""What a report is made of: result files of bench and of profile, each given once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecnn.errors import UsageError
from edgecnn.measure.dissection import Profile
from edgecnn.measure.results import load_result
from edgecnn.report.sections import Profiled, Source


def read(paths: Sequence[Path]) -> tuple[list[Source], list[Profiled]]:
    """The benches and the profiles among the files. Raises BadFileError, and UsageError when one is given twice."""
    twice = sorted({path for path in paths if list(paths).count(path) > 1})
    if twice:
        raise UsageError(f"{twice[0]} is given twice; give each result file once")
    sources, profiles = [], []
    for name, path in zip(_names(paths), paths, strict=True):
        result = load_result(path)
        if isinstance(result, Profile):
            profiles.append(Profiled(name, result))
        else:
            sources.append(Source(name, result))
    return sources, profiles


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names, with the folders above only where two are called the same."""
    short = [path.name for path in paths]
    return [path.name if short.count(path.name) == 1 else str(path) for path in paths]
