"""Everything on this machine: ``python -m benchmarks.suite [--models NAME...] [--peers DIR] [--force]``.

Makes the bundles of the models (or takes them from the cache) and their static_w4a8 TFLite files, benches every file in
every runtime that is installed, MLPerf Tiny's ResNet-8 among them with ``--peers``, scores the TFLite files on all test
images, and writes
``benchmarks/results/MACHINE/``: bench.json, accuracy.json, report.md and report.html. ``python -m benchmarks.readme
--write`` then brings the README up to date.

bench.json is a result file of ``edgecnn bench`` that keeps KEEP samples of each run, or it would have 30 MB; its
``thinned`` says so, and what the report shows is computed from what is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from contextlib import chdir
from dataclasses import asdict
from pathlib import Path

from benchmarks import summary
from benchmarks.bundles import bundle, default_cache, say
from benchmarks.peers import NAME, write_peers
from edgecnn import models
from edgecnn.data.registry import load
from edgecnn.errors import CheckFailedError, EdgeCNNError, UntrustworthyError
from edgecnn.measure.bench import bench
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.machine import Machine, read_machine
from edgecnn.measure.measurement import Session, Settings
from edgecnn.quantize.recipe import STATIC_W4A8
from edgecnn.report.markdown import markdown
from edgecnn.report.page import page
from edgecnn.report.sections import Source, sections
from edgecnn.runtime.bundle import open_bundle
from edgecnn.runtime.files import refuse_existing, write_bytes

RESULTS = Path(__file__).parent / "results"
BENCH, ACCURACY = "bench.json", "accuracy.json"
KEEP = 120


def folder_name(machine: Machine) -> str:
    """A machine's name that stays and tells no secret: the board, or the CPU, its best int8 features, its cores."""
    board = machine.board if machine.board and machine.architecture.startswith(("arm", "aarch64")) else None
    name = re.sub(r"\((r|tm)\)|\bprocessor\b|\bcpu\b|@.*", " ", (board or machine.cpu).lower())
    products = [feature for feature in machine.features if not feature.startswith("amx")][-1:]
    tiles = [feature for feature in machine.features if feature.startswith("amx")]
    words = [name, *products, *tiles, f"{machine.cores}cpu"]
    return "-".join(re.findall(r"[a-z0-9]+", " ".join(words)))


def write(session: Session, rows: list[summary.Row], out: Path) -> None:
    """Write the files of one machine; all but accuracy.json are made from the thinned session."""
    thin = session.thin(KEEP)
    thin.save(out / BENCH)
    write_bytes(out / ACCURACY, json.dumps([asdict(row) for row in rows], indent=2).encode() + b"\n")
    parts = sections([Source(BENCH, thin)])
    write_bytes(out / "report.md", markdown(parts, out.name).encode())
    write_bytes(out / "report.html", page(parts, out.name).encode())


def run(options: argparse.Namespace) -> Path:
    """Do it; gives the folder. Raises UntrustworthyError, and writes nothing, when the machine throttled."""
    out: Path = options.out.resolve() / folder_name(read_machine())
    refuse_existing(out / BENCH, options.force)
    data = load(options.data)
    with tempfile.TemporaryDirectory() as name:
        stage = Path(name)  # the files are benched from here, so that their paths in the result are nobody's
        for model in options.models:
            (stage / f"{model}-{data.name}").symlink_to(bundle(model, data.name, options.cache))
        folders = [Path(f"{model}-{data.name}") for model in options.models]
        if options.peers:
            folders.append(Path(write_peers(options.peers, stage / NAME, stage / folders[0]).name))
        rows = [summary.score(stage / folder, data) for folder in folders]
        files = []
        for model in options.models:
            folder = stage / f"{model}-{data.name}-{STATIC_W4A8.name}"
            folder.symlink_to(bundle(model, data.name, options.cache, ("tflite",), STATIC_W4A8))
            rows.append(summary.score(folder, data, STATIC_W4A8))
            files.append(Path(folder.name) / open_bundle(folder).artifact(STATIC_W4A8.name).file)
        order = Order((*folders, *files), settings=Settings(options.runs, options.min_seconds))
        with chdir(stage):
            session = bench(find_cases(order), order.settings, say=say)
    if session.invalid:
        raise UntrustworthyError(f"the figures are INVALID: {'; '.join(session.verdict.reasons)}")
    write(session, rows, out)
    failed = [row for row in session.measurements if row.failure is not None]
    if failed:
        raise CheckFailedError(f"{len(failed)} files failed, the first {failed[0].case.file}: {failed[0].failure}")
    return out


def main(words: list[str] | None = None) -> int:
    """Run the suite and print where the results are; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description="Bench everything, everywhere.")
    parser.add_argument("--models", nargs="+", default=models.names(), choices=models.names(), metavar="NAME")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--peers", type=lambda text: Path(text).resolve(), metavar="DIR")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--min-seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=lambda text: Path(text).resolve(), default=default_cache())
    parser.add_argument("--force", action="store_true", help="replace the results of this machine")
    try:
        print(run(parser.parse_args(words)))
    except EdgeCNNError as error:
        print(f"suite: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
