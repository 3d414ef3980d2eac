"""Where edgecnn keeps on this machine what can be fetched or made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgecnn.errors import UsageError


def cache_folder(variable: str) -> Path:
    """The folder in the environment's ``variable``, else ``edgecnn`` in the user's cache folder; it need not exist yet.

    The latter is ``$XDG_CACHE_HOME`` or ``~/.cache``, on macOS ``~/Library/Caches``. Raises UsageError when the user
    has no home folder.
    """
    try:
        if chosen := os.environ.get(variable):
            return Path(chosen).expanduser().absolute()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "edgecnn"
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (cache if cache.is_absolute() else Path.home() / ".cache") / "edgecnn"
    except RuntimeError as error:
        raise UsageError(f"no cache folder for edgecnn: {error}; set {variable} to one") from error
