"""Every committed result: a result file by its schema, or one of the known others."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import edgecnn.measure.measurement as module
from benchmarks import (
    calibration,
    experiments,
    footprint,
    fuzz,
    low_bits,
    mirrored,
    mirrored_files,
    own_models,
    pruning,
    qat,
    selection,
    sensitivity,
    synthetic,
    targets,
)
from benchmarks.ablations import length as ablations_length
from benchmarks.ablations import qat as ablations_qat
from benchmarks.ablations import recipe as ablations_recipe
from benchmarks.suite import ACCURACY, BENCH, RESULTS, folder_name
from benchmarks.summary import Row
from edgecnn.measure.measurement import Session
from edgecnn.runtime.records import decode, read_json

SCHEMA = json.loads((Path(module.__file__).parent / "measurement.schema.json").read_text("utf-8"))
SCRIPTS = (
    ablations_length, ablations_qat, ablations_recipe, calibration, experiments, low_bits, mirrored, mirrored_files,
    pruning, qat, sensitivity, synthetic, targets,
)  # fmt: skip
RECORDS = (own_models.RESULTS, *(script.RESULTS.path for script in SCRIPTS))
FILES = sorted(RESULTS.rglob("*.json"))
LARGEST = 3 << 19  # bytes of all results of a machine: about 140 kB for each of nine models, and 4-bit files


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(RESULTS)))
def test_a_result_is_what_it_claims_to_be(path: Path) -> None:
    if path == selection.COMMITTED:
        rows = json.loads(path.read_text("utf-8"))
        assert rows and all({"model", "command", "validation_accuracy"} <= set(row) for row in rows)
    elif path == fuzz.RESULTS:
        rows = json.loads(path.read_text("utf-8"))
        assert rows and all(sum(row["stages"].values()) == row["next"] for row in rows)
    elif path == footprint.RESULTS:
        assert footprint.problems(json.loads(path.read_text("utf-8")), json.loads(path.read_text("utf-8"))) == []
    elif path in RECORDS:
        document = json.loads(path.read_text("utf-8"))
        rows = document if isinstance(document, list) else document["rows"]
        assert rows and all("model" in row for row in rows)
    elif path.name == ACCURACY:
        accuracies: tuple[Row, ...] = decode(tuple[Row, ...], read_json(path, 1 << 20))
        assert accuracies
    else:
        document = json.loads(path.read_text("utf-8"))
        jsonschema.validate(document, SCHEMA)
        assert len(Session.load(path).measurements) == len(document["measurements"])


def test_a_machine_has_its_own_folder_and_paths_of_nobody() -> None:
    paths = list(RESULTS.glob(f"*/{BENCH}"))
    assert paths
    for path in paths:
        session = Session.load(path)
        assert path.parent.name == folder_name(session.machine)
        assert not any(Path(row.case.file).is_absolute() for row in session.measurements)
        assert sum(each.stat().st_size for each in path.parent.iterdir()) < LARGEST
