"""``edgecnn bench``: size, accuracy, latency, memory and energy of files and bundles, with a verdict on trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecnn.errors import CheckFailedError, UntrustworthyError, UsageError

if TYPE_CHECKING:
    from edgecnn.measure.measurement import Session


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    lowest = 0 if param.name == "pin" else 1
    words = [] if value is None else value.split(",")
    numbers = tuple(int(word) for word in words if word.strip().isdecimal() and int(word) >= lowest)
    if len(numbers) < len(words) or len(set(numbers)) < len(numbers):
        raise click.BadParameter(f"'{value}' (valid: different whole numbers from {lowest}, with commas)")
    return numbers


@click.command(name="bench")
@click.argument("paths", nargs=-1, required=True, metavar="BUNDLE_OR_FILE...", type=click.Path(path_type=Path))
@click.option(
    "--runtime", "runtimes", metavar="NAMES", default="litert,onnxruntime,torchscript", show_default=True,
    help="With commas; each runs the files of its format.",
)  # fmt: skip
@click.option("--threads", callback=_numbers, default="1", show_default=True, help="With commas, each measured.")
@click.option("--batch", "batches", callback=_numbers, default="1", show_default=True, help="Images at once.")
@click.option(
    "--min-seconds", type=click.FloatRange(0.01, 3600), default=1.0, show_default=True,
    help="Time each file for at least so long, over all its runs.",
)  # fmt: skip
@click.option("--runs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs of each file, by turns.")
@click.option("--pin", callback=_numbers, metavar="CPU", help="Run on this CPU only; several with commas.")
@click.option(
    "--cooldown", type=click.FloatRange(0, 3600), default=0.0, metavar="S", help="Rest so many seconds before each run."
)
@click.option("--target", default="local", show_default=True, help="Where to run.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write everything, raw samples too, here.")
@click.option("--force", is_flag=True, help="Replace the file of --json if it exists.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True,
    help="What to print; json is what --json writes.",
)  # fmt: skip
def command(
    paths: tuple[Path, ...],
    runtimes: str,
    threads: tuple[int, ...],
    batches: tuple[int, ...],
    min_seconds: float,
    runs: int,
    pin: tuple[int, ...],
    cooldown: float,
    target: str,
    file: Path | None,
    force: bool,
    form: str,
) -> None:
    """Measure files and bundles against each other, each run in a process of its own, by turns.

    A bundle stands for all its files. The exit code is 3 when the machine throttled, which makes every figure
    INVALID, and 1 when a file failed.
    """
    from edgecnn.cli.targets import bench_on
    from edgecnn.measure.cases import Order
    from edgecnn.measure.measurement import Settings
    from edgecnn.runtime.files import refuse_existing

    if file is not None:
        refuse_existing(file, force)
    names = tuple(dict.fromkeys(name.strip() for name in runtimes.split(",") if name.strip()))
    if not names:
        raise UsageError(f"--runtime '{runtimes}' names no runtime")
    order = Order(paths, names, threads, batches, Settings(runs, min_seconds, pin, cooldown))
    session = bench_on(target, order, say=lambda line: click.echo(line, err=True))
    if file is not None:
        session.save(file)
    click.echo(_shown(session, form))
    if session.invalid:
        raise UntrustworthyError(f"the figures are INVALID: {'; '.join(session.verdict.reasons)}")
    failed = [row for row in session.measurements if row.failure is not None]
    if failed:
        raise CheckFailedError(
            f"{len(failed)} of {len(session.measurements)} could not be measured; the first is {failed[0].case.file} "
            f"in {failed[0].case.runtime}: {failed[0].failure}"
        )


def _shown(session: Session, form: str) -> str:
    from edgecnn.report.bench import csv_text, text

    if form == "json":
        return json.dumps(session.document(), allow_nan=False)
    return csv_text(session) if form == "csv" else text(session)
