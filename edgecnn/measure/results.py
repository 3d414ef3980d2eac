"""Result files of any kind, told apart by what is in them."""

from __future__ import annotations

from pathlib import Path

from edgecnn.errors import BadFileError
from edgecnn.measure.dissection import Profile
from edgecnn.measure.measurement import LIMIT, Session
from edgecnn.runtime.records import read_json


def load_result(path: Path) -> Session | Profile:
    """What ``edgecnn bench --json`` or ``edgecnn profile --json`` wrote. Raises BadFileError naming file and field."""
    document = read_json(path, LIMIT)  # once: it may be a pipe
    known = document if isinstance(document, dict) else {}
    if "fixed" in known and "operations" in known:
        raise BadFileError(
            f"{path}: it counts instructions under emulation, which has no page; 'edgecnn profile' shows it"
        )
    return Profile.parse(document, path) if "operations" in known else Session.parse(document, path)
