"""CI's gate on sizes and accuracies: ``python -m benchmarks.gate [--write]``.

Makes the float32 and static_w8a8 TFLite files of all models on the digits anew, looks at their bytes and accuracies
with a short bench, and holds that against the committed one by ``edgecnn compare-runs``. Neither figure depends on the
machine, so the gate works on any. ``--write`` replaces the committed bench, after a change that was meant.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

from benchmarks.bundles import bundle
from edgecnn import models
from edgecnn.cli.main import main as edgecnn
from edgecnn.errors import CheckFailedError, EdgeCNNError
from edgecnn.measure.bench import bench
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.measurement import Session, Settings

COMMITTED = Path(__file__).parent / "results" / "gate.json"
LIMITS = "bytes:1%,accuracy:0.5pp"
DATA = "digits"
ONCE = Settings(runs=1, min_seconds=0.01)  # nothing here is about time


def measure() -> Session:
    """A bench of freshly made bundles, with as few samples as can be.

    Raises CheckFailedError if a file does not pass its gate or does not run.
    """
    with tempfile.TemporaryDirectory() as name:
        stage = Path(name)
        folders = tuple(Path(f"{model}-{DATA}") for model in models.names())
        for model, folder in zip(models.names(), folders, strict=True):
            (stage / folder).symlink_to(bundle(model, DATA, stage, ("tflite",)))
        with chdir(stage):
            session = bench(find_cases(Order(folders, ("litert",), settings=ONCE)), ONCE).thin(1)
    for row in session.measurements:
        if row.failure is not None:
            raise CheckFailedError(f"{row.case.file} {row.failure}")
    return session


def main(words: list[str] | None = None) -> int:
    """Write the committed bench or compare with it; returns the exit code, that of compare-runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description="Sizes and accuracies, as before?")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(words)
    try:
        session = measure()
    except EdgeCNNError as error:
        print(f"gate: error: {error}", file=sys.stderr)
        return error.exit_code
    if options.write:
        session.save(COMMITTED)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        now = Path(folder) / "now.json"
        session.save(now)
        return edgecnn(["compare-runs", str(COMMITTED), str(now), "--fail-on", LIMITS])


if __name__ == "__main__":
    sys.exit(main())
