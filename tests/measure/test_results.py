"""Result files told apart by their content, and a profile that survives its file."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from edgecnn.errors import BadFileError
from edgecnn.measure.dissection import Profile
from edgecnn.measure.results import load_result
from tests.report.samples import profile, row, session


def test_a_bench_and_a_profile_survive_their_files(tmp_path: Path) -> None:
    session([row()]).save(tmp_path / "run.json")
    (tmp_path / "ops.json").write_text(json.dumps(profile().document()))
    assert load_result(tmp_path / "run.json") == session([row()])
    assert load_result(tmp_path / "ops.json") == profile()


def test_a_profile_of_the_first_schema_is_read_though_it_names_no_sample(tmp_path: Path) -> None:
    document = json.loads(json.dumps(profile().document())) | {"schema": 1}
    del document["case"]["sample"]
    (tmp_path / "ops.json").write_text(json.dumps(document))
    found = load_result(tmp_path / "ops.json")
    assert isinstance(found, Profile)
    assert dataclasses.replace(found, schema=profile().schema) == profile()


def test_a_result_is_read_once_so_that_it_may_come_through_a_pipe(tmp_path: Path) -> None:
    session([row()]).save(tmp_path / "run.json")
    ends = os.pipe()
    os.write(ends[1], (tmp_path / "run.json").read_bytes())  # a few kilobytes, which a pipe holds
    os.close(ends[1])
    assert load_result(Path(f"/dev/fd/{ends[0]}")) == session([row()])
    os.close(ends[0])


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (profile().document() | {"operations": [{"name": "ADD"}]}, r"operations\[0\]\.\w+ is missing"),
        (profile().document() | {"operations": 5}, "operations must be a list"),
        (profile().document() | {"schema": 99}, "schema is 99, newer than 2; install a newer edgecnn"),
        ({"operations": []}, "is missing"),
        ({"operations": [], "fixed": 1}, "it counts instructions under emulation"),
        (profile().document() | {"whole": [0.0]}, "is not above 0"),
        (profile().document() | {"created": "\x1b[31m"}, "a text holds what cannot be printed"),
        (session([row()]).document() | {"created": "\ud800"}, "a text holds what cannot be printed"),
        (session([row()]).document() | {"verdict": {"level": "fine", "reasons": []}}, "level is 'fine', but must be"),
        (5, "must be an object"),
    ],
)
def test_damaged_files_are_refused_by_name_and_field(document: object, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(json.dumps(document))
    with pytest.raises(BadFileError, match=f"file: .*{reason}"):
        load_result(tmp_path / "file")
