"""Result files of any kind, told apart by what is in them."""

from __future__ import annotations

from pathlib import Path

from edgecnn.measure.dissection import Profile
from edgecnn.measure.measurement import LIMIT, Session
from edgecnn.runtime.records import read_json


def load_result(path: Path) -> Session | Profile:
    """What ``edgecnn bench --json`` or ``edgecnn profile --json`` wrote. Raises BadFileError naming file and field."""
    document = read_json(path, LIMIT)
    profiled = isinstance(document, dict) and "operations" in document
    return Profile.load(path) if profiled else Session.load(path)
