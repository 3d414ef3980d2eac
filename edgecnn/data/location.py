"""Where data sets lie on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgecnn.errors import UsageError

VARIABLE = "EDGECNN_DATA"


def data_root() -> Path:
    """The folder that holds downloaded data sets; it need not exist yet.

    ``$EDGECNN_DATA``, else ``edgecnn`` in the user's cache folder: ``$XDG_CACHE_HOME`` or ``~/.cache``,
    on macOS ``~/Library/Caches``. Raises UsageError when the user has no home folder.
    """
    try:
        if chosen := os.environ.get(VARIABLE):
            return Path(chosen).expanduser()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "edgecnn"
        cache = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "edgecnn"
    except RuntimeError as error:
        raise UsageError(f"no folder for data sets: {error}; set {VARIABLE} to one") from error
