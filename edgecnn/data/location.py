"""Where data sets lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from edgecnn.errors import UsageError
from edgecnn.runtime.files import cache_folder

VARIABLE = "EDGECNN_DATA"


def data_root() -> Path:
    """The folder that holds downloaded data sets; it need not exist yet.

    ``$EDGECNN_DATA``, else runtime.files.cache_folder(). Raises UsageError when the user has no home folder.
    """
    try:
        chosen = os.environ.get(VARIABLE)
        folder = Path(chosen).expanduser() if chosen else cache_folder()
    except RuntimeError as error:
        raise UsageError(f"no folder for data sets: {error}; set {VARIABLE} to one") from error
    if folder is None:
        raise UsageError(f"no folder for data sets: the user has no home; set {VARIABLE} to one")
    return folder
