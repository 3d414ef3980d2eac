"""What ``edgecnn ... --json`` says, kept in a file, so that it is asked only once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgecnn.errors import CheckFailedError
from edgecnn.runtime.files import write_bytes


def said(report: Path, *words: str) -> dict[str, Any]:
    """The document of a command line, from the file ``report`` if it is there.

    A pruning that missed its target has failed, and is a result all the same. Raises CheckFailedError for any other
    command that fails, which is not kept.
    """
    if not report.exists():
        run = subprocess.run([sys.executable, "-m", "edgecnn", *words, "--json"], stdout=subprocess.PIPE)
        if run.returncode and not _missed(run.stdout):
            raise CheckFailedError(f"edgecnn {' '.join(words)} ended with exit code {run.returncode}, as told above")
        write_bytes(report, run.stdout)
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def _missed(output: bytes) -> bool:
    return bool(output) and json.loads(output).get("met") is False
