"""The result file: what is saved is what is loaded, the schema says the same, and nothing odd gets in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import edgecnn.measure.measurement as module
from edgecnn.errors import BadFileError, OutputError
from edgecnn.measure.bench import bench
from edgecnn.measure.energy import Meter
from edgecnn.measure.figures import Figures
from edgecnn.measure.machine import Machine, State
from edgecnn.measure.measurement import Case, Emulation, Energy, Graph, Measurement, Run, Session, Settings, Window
from edgecnn.measure.speed import Speed
from edgecnn.measure.trust import Verdict
from edgecnn.runtime.manifest import Accuracy
from tests.measure.scripted import ScriptedWorker, case, quiet, surroundings

SCHEMA = json.loads((Path(module.__file__).parent / "measurement.schema.json").read_text("utf-8"))
RECORDS = {
    "machine": Machine, "state": State, "verdict": Verdict, "settings": Settings, "case": Case, "run": Run,
    "energy": Energy, "accuracy": Accuracy, "figures": Figures, "graph": Graph, "window": Window,
    "emulation": Emulation, "speed": Speed,
}  # fmt: skip


def worker(which: Case) -> ScriptedWorker:
    return ScriptedWorker(123.4, (1500.0,), "open" if which.file == "bad" else "")


@pytest.fixture
def session() -> Session:
    cases = [case("a.tflite", "folder"), case("bad"), case("c.tflite", batch=8)]
    meter: Meter | str = "none"
    return bench(cases, Settings(min_seconds=2, pin=(0,)), surroundings(worker, quiet(), meter))


def test_a_session_survives_its_file(session: Session, tmp_path: Path) -> None:
    session.save(tmp_path / "run.json")
    assert Session.load(tmp_path / "run.json") == session
    assert len(session.measurements[0].runs[0].samples) == 12
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["measurements"][0]["figures"]["p50"] == 123.4
    assert document["measurements"][1]["figures"] is None


def test_the_schema_accepts_what_is_written_and_names_every_field(session: Session) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(json.dumps(session.document())), SCHEMA)
    for name, record in RECORDS.items():
        assert SCHEMA["$defs"][name]["required"] == [field.name for field in dataclasses.fields(record)], name
    fields = {field.name for field in dataclasses.fields(Measurement)}
    assert set(SCHEMA["$defs"]["measurement"]["required"]) == fields | {"figures"}
    assert set(SCHEMA["required"]) == {field.name for field in dataclasses.fields(Session)} | {"speed"}


def test_the_verdict_on_speed_is_in_the_file_and_computed_anew(tmp_path: Path) -> None:
    cases = [dataclasses.replace(case(name, "b"), recipe=name) for name in ("float32", "static_w8a8")]
    session = bench(cases, Settings(), surroundings(worker, quiet()))
    session.save(tmp_path / "run.json")
    document = json.loads((tmp_path / "run.json").read_text())
    jsonschema.validate(document, SCHEMA)
    (speed,) = document["speed"]
    assert (speed["float32"], speed["quantized"], speed["ratio"], speed["interval"]) == (0, 1, 1.0, [1.0, 1.0])
    document["speed"] = "nonsense"
    (tmp_path / "run.json").write_text(json.dumps(document))
    assert Session.load(tmp_path / "run.json") == session


def test_values_cannot_be_changed(session: Session) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.measurements[0].runs[0].overhead = 0  # type: ignore[misc]


def edit(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path
        for step in parents:
            document = document[step]
        document[last] = value

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit("schema", value=3), "schema is 3, newer than 2"),
        (edit("extra", value=1), "extra is not a known field"),
        (edit("machine", "cores", value="many"), r"machine\.cores must be a whole number"),
        (edit("measurements", 0, "runs", 1, "samples", value=[]), r"runs\[1\]: samples holds 0 times"),
        (edit("measurements", 0, "runs", 1, "samples", value=[5, -1]), "all above 0"),
        (edit("measurements", 0, "case", "sha256", value="beef"), "64 lower-case hex digits"),
        (edit("measurements", 0, "case", "threads", value=0), "threads is 0"),
        (edit("measurements", 0, "verdict", "level", value="fine"), r"measurements\[0\]\.verdict: level is 'fine'"),
        (edit("measurements", 1, "failure", value=None), "neither runs nor a failure"),
        (edit("states", value=[]), "states is empty"),
        (edit("measurements", value=[]), "measurements is empty"),
        (edit("settings", "runs", value=0), "settings: runs is 0 .valid: 1 to 1000."),
        (edit("settings", "runs", value=2**62), "settings: runs is 4611686018427387904 .valid: 1 to 1000."),
        (edit("measurements", 0, "runs", 1, "samples", value=[10**400]), "must be a whole number of at most 64 bits"),
        (edit("measurements", value=[3]), r"measurements\[0\] must be an object"),
        (edit("measurements", value=None), "measurements must be a list"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_field(
    session: Session, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    document = json.loads(json.dumps(session.document()))
    change(document)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document))
    with pytest.raises(BadFileError, match=reason) as error:
        Session.load(path)
    assert str(path) in str(error.value)


def test_a_file_of_the_first_schema_is_read_though_it_names_no_sample(session: Session, tmp_path: Path) -> None:
    document = json.loads(json.dumps(session.document())) | {"schema": 1}
    for entry in document["measurements"]:
        del entry["case"]["sample"]
    (tmp_path / "run.json").write_text(json.dumps(document))
    found = Session.load(tmp_path / "run.json")
    assert {each.case.sample for each in found.measurements} == {None}
    assert dataclasses.replace(found, schema=session.schema) == session


def test_a_file_that_is_no_document_or_cannot_be_written(session: Session, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(BadFileError, match="must be an object"):
        Session.load(tmp_path / "list.json")
    with pytest.raises(OutputError):
        session.save(tmp_path / "list.json" / "run.json")


def test_a_thinned_session_keeps_evenly_spaced_samples_and_says_so(session: Session, tmp_path: Path) -> None:
    first = session.measurements[0]
    long = dataclasses.replace(first.runs[0], samples=tuple(range(1, 1001)), warm_ups=tuple(range(1, 101)))
    whole = dataclasses.replace(session, measurements=(dataclasses.replace(first, runs=(long, first.runs[1])),))
    thin = whole.thin(100)
    assert thin.measurements[0].runs[0].samples == tuple(range(1, 1001, 10))
    assert thin.measurements[0].runs[0].warm_ups == tuple(range(1, 101, 10))
    assert thin.measurements[0].runs[1] == first.runs[1]
    assert (whole.thinned, thin.thinned) == (None, 100)
    thin.save(tmp_path / "thin.json")
    assert Session.load(tmp_path / "thin.json") == thin
    jsonschema.validate(json.loads((tmp_path / "thin.json").read_text()), SCHEMA)
