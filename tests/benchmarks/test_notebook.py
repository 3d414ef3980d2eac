"""The notebook: its chain runs from training to pictures, and what is committed is what it says of the results."""

from __future__ import annotations

import base64
import io
import re

import nbformat
import numpy as np
import pytest
from PIL import Image

from benchmarks import notebook
from benchmarks.compared import HEADERS, MISSING
from benchmarks.variants import VARIANTS

LARGEST = 600_000  # bytes of the file
SIMILAR = 1.0  # mean difference of two pictures, of 255, between processors


@pytest.fixture(scope="module")
def fresh():
    return notebook.executed()


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(notebook.NOTEBOOK, as_version=4)


def pictures(found):
    """The pictures of a notebook in the order of its cells, uint8 [height, width, 3]."""
    outputs = [output for cell in found.cells for output in cell.get("outputs", ())]
    encoded = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")) for each in encoded]


def test_what_the_committed_cells_say_is_what_they_say_today(fresh, committed):
    assert list(notebook.said(committed)) == list(notebook.said(fresh)), "run: python -m benchmarks.notebook --write"


def test_the_committed_pictures_are_those_of_the_committed_results(fresh, committed):
    ours, today = pictures(committed), pictures(fresh)
    assert len(ours) == len(today) == 7
    for one, other in zip(ours, today, strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).mean() < SIMILAR


def test_nothing_is_committed_that_differs_from_run_to_run_or_is_large(fresh, committed):
    assert notebook.NOTEBOOK.stat().st_size < LARGEST
    assert committed.metadata.keys() == {"kernelspec"}
    assert nbformat.writes(notebook.stripped(committed)) == nbformat.writes(committed)
    nbformat.validate(committed)
    for cell in committed.cells:
        assert not cell.metadata
        assert cell.cell_type == "markdown" or (cell.execution_count is None and len(cell.outputs) == 1)


def test_no_figure_is_typed_by_hand(committed):
    for cell in committed.cells:
        words = cell.source if cell.cell_type == "markdown" else ""
        assert not re.search(r"\d[\d.,]* ?(%|points|times|MACs|µs)", words), words


def test_the_short_form_trains_quantizes_measures_and_draws():
    short = notebook.executed(short=True)
    said = "\n\n".join(text for _, text in notebook.said(short))
    table = [[cell.strip() for cell in line.split("|")] for line in said.splitlines() if line.startswith("| `")]
    assert [cells[1].strip("`") for cells in table] == list(VARIANTS)
    first, second = (dict(zip(HEADERS, cells[1:-1], strict=True)) for cells in table[:2])
    assert [name for name in HEADERS if first[name] == MISSING] == ["µs static_w8a8, plain", "CPU s an epoch"]
    assert float(first["µs static_w8a8"]) > 0 and second["static_w8a8 accuracy"] == MISSING
    assert "images of digits" in said
    assert len(pictures(short)) == 7
