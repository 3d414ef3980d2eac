"""Where data sets lie on this machine."""

from __future__ import annotations

from pathlib import Path

from edgecnn.runtime.places import cache_folder

VARIABLE = "EDGECNN_DATA"


def data_root() -> Path:
    """The folder that holds downloaded data sets: ``$EDGECNN_DATA``, else the cache folder; it need not exist yet.

    Raises UsageError when the user has no home folder.
    """
    return cache_folder(VARIABLE)
