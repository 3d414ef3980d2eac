"""``experiments.ipynb`` as it comes out today: ``python -m benchmarks.notebook [--write]``.

Executes it and prints what its cells say, without the pictures; ``--write`` puts all outputs into it. Nothing is left
in the file that differs from run to run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from benchmarks.experiments import SHORT
from edgecnn.runtime.files import write_bytes

NOTEBOOK = Path(__file__).parent / "experiments.ipynb"
ROOT = Path(__file__).parent.parent
PATIENCE = 600  # seconds a cell


def executed(path: Path = NOTEBOOK, *, short: bool = False) -> NotebookNode:
    """The notebook with fresh outputs, in its ``short`` form or from the committed results.

    It runs with this Python, in the folder of the project. Raises nbclient's CellExecutionError for a cell that fails.
    """
    notebook = nbformat.read(path, as_version=4)
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with mock.patch.dict(os.environ, {SHORT: "1" if short else "0", "PYTHONPATH": paths}):
        NotebookClient(
            notebook, timeout=PATIENCE, kernel_name="python3", resources={"metadata": {"path": ROOT}}
        ).execute()
    return stripped(notebook)


def stripped(notebook: NotebookNode) -> NotebookNode:
    """Without what says when, where and in how many attempts it was executed."""
    notebook.metadata = NotebookNode(kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"})
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place + 1}"
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [_plain(output) for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def _plain(output: NotebookNode) -> NotebookNode:
    if "execution_count" in output:
        output.execution_count = None
    return output


def said(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """(place of the cell, what it says), of all outputs that are text; of a picture its title."""
    for place, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            yield place, str(output.get("text") or data.get("text/markdown") or data.get("text/plain"))


def main(words: list[str] | None = None) -> int:
    """Print what the notebook says, or write it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notebook", description="Execute experiments.ipynb.")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(words)
    notebook = executed()
    if options.write:
        write_bytes(NOTEBOOK, (nbformat.writes(notebook) + "\n").encode())
    else:
        print("\n\n".join(text for _, text in said(notebook)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
