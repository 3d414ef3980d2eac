"""``edgecnn bench``: size, accuracy, latency, memory and energy of files and bundles, with a verdict on trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecnn.cli.options import DIGITS, Number, signature_option
from edgecnn.errors import CheckFailedError, EdgeCNNError, OutputError, UntrustworthyError, UsageError

if TYPE_CHECKING:
    from edgecnn.measure.measurement import Session

FORMATS = ("table", "json", "csv", "google-benchmark", "github-action")


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    lowest = 0 if param.name == "pin" else 1
    words = [] if value is None else value.split(",")
    short = (word for word in words if word.strip().isdecimal() and len(word.strip()) <= DIGITS)
    numbers = tuple(number for number in map(int, short) if number >= lowest)
    if len(numbers) < len(words) or len(set(numbers)) < len(numbers):
        raise click.BadParameter(f"'{value}' (valid: different whole numbers from {lowest}, with commas)")
    return numbers


@click.command(name="bench")
@click.argument("paths", nargs=-1, required=True, metavar="BUNDLE_OR_FILE...", type=click.Path(path_type=Path))
@click.option(
    "--runtime", "runtimes", metavar="NAMES",
    help="With commas, of litert, tflite-runtime, onnxruntime, openvino, torchscript and executorch; each runs the "
    "files of its format. Default: those that are installed.",
)  # fmt: skip
@click.option("--threads", callback=_numbers, default="1", show_default=True, help="With commas, each measured.")
@click.option("--batch", "batches", callback=_numbers, default="1", show_default=True, help="Images at once.")
@click.option(
    "--min-seconds", type=Number(0.01, 3600), default=1.0, show_default=True,
    help="Time each file for at least so long, over all its runs.",
)  # fmt: skip
@click.option("--runs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs of each file, by turns.")
@click.option("--pin", callback=_numbers, metavar="CPU", help="Run on this CPU only; several with commas.")
@click.option(
    "--cooldown", type=Number(0, 3600), default=0.0, metavar="S", help="Rest so many seconds before each run."
)
@click.option(
    "--sustained", type=Number(0), default=0.0, metavar="S",
    help="Afterwards run each file for so many seconds without a rest, and draw its latency over time.",
)  # fmt: skip
@click.option(
    "--target", "targets", multiple=True, default=("local",), show_default=True, metavar="TARGET",
    help="Where to run: local; ssh://[USER@]HOST[:PORT], a board; emulated:cortex-a53, -a72, -a76 or -a7, which counts "
    "instructions. Repeat it for several at once.",
)  # fmt: skip
@click.option(
    "--offline", is_flag=False, flag_value="", metavar="[WHEEL_FOLDER]",
    help="Give a board its packages from here: from this folder of wheels, or else downloaded here for it.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the environment on a board, so that the next bench starts quicker.")
@click.option(
    "--json", "file", type=click.Path(path_type=Path),
    help="Write everything, raw samples too, here; with several targets FILE.json becomes FILE.TARGET.json.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file of --json if it exists.")
@signature_option
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True,
    help="What to print; json is what --json writes, with several targets an object with one under each's name.",
)  # fmt: skip
def command(
    paths: tuple[Path, ...],
    runtimes: str | None,
    threads: tuple[int, ...],
    batches: tuple[int, ...],
    min_seconds: float,
    runs: int,
    pin: tuple[int, ...],
    cooldown: float,
    sustained: float,
    targets: tuple[str, ...],
    offline: str | None,
    keep: bool,
    file: Path | None,
    force: bool,
    public_key: Path | None,
    form: str,
) -> None:
    """Measure files and bundles against each other, each run in a process of its own, by turns.

    A bundle stands for all its files. The exit code is 3 when the machine throttled, which makes every figure
    INVALID, and 1 when a file failed; with several targets it is the highest of theirs.

    A board needs an SSH server that takes one of your keys and whose host key you know, and a 64-bit Python 3.11 or
    later with venv. edgecnn is installed there in a virtual environment below ~/.cache/edgecnn, with LiteRT or what
    --runtime names, and removed afterwards unless --keep is given. When the connection breaks the bench goes on there,
    and the same command finds it. EDGECNN_SSH_CONFIG names a file to use instead of your ssh_config.
    """
    from edgecnn.cli import several
    from edgecnn.cli.progress import Progress
    from edgecnn.cli.targets import bench_on_all, board_install
    from edgecnn.measure.cases import Order
    from edgecnn.measure.measurement import Settings
    from edgecnn.runtime.files import refuse_existing_file
    from edgecnn.runtime.signature import require_signature

    for path in paths:
        require_signature(path, public_key)
    several.check_targets(targets, form)
    install = board_install(targets, offline, keep)
    files = {} if file is None else several.files_of(file, targets)
    for path in files.values():
        refuse_existing_file(path, force)
    names = tuple(dict.fromkeys(name.strip() for name in (runtimes or "").split(",") if name.strip()))
    if runtimes is not None and not names:
        raise UsageError(f"--runtime '{runtimes}' names no runtime")
    order = Order(paths, names, threads, batches, Settings(runs, min_seconds, pin, cooldown, sustained))
    with Progress() as say:
        outcomes = bench_on_all(targets, order, say, install)
    sessions = {target: each for target, each in outcomes.items() if not isinstance(each, EdgeCNNError)}
    unsaved = _save(sessions, files)
    if len(targets) == 1 and sessions:
        click.echo(_shown(sessions[targets[0]], form))
    elif sessions:
        click.echo(several.shown(sessions, form, _shown))
    verdicts = {
        target: each if isinstance(each, EdgeCNNError) else unsaved.get(target) or _doubt(each)
        for target, each in outcomes.items()
    }
    errors = {target: error for target, error in verdicts.items() if error is not None}
    if errors and len(targets) == 1:
        raise errors[targets[0]]
    if errors:
        raise several.worst(errors, lambda line: click.echo(line, err=True))


def _save(sessions: dict[str, Session], files: dict[str, Path]) -> dict[str, OutputError]:
    """Write what has a file; why those that cannot be written are not. What took hours is shown all the same."""
    errors = {}
    for target in sessions.keys() & files.keys():
        try:
            sessions[target].save(files[target])
        except OutputError as error:
            errors[target] = error
    return errors


def _doubt(session: Session) -> EdgeCNNError | None:
    """What is wrong with a session, as the error that the command ends with."""
    if session.invalid:
        return UntrustworthyError(f"the figures are INVALID: {'; '.join(session.verdict.reasons)}")
    failed = [row for row in session.measurements if row.failure is not None]
    if not failed:
        return None
    return CheckFailedError(
        f"{len(failed)} of {len(session.measurements)} failed; the first is {failed[0].case.file} "
        f"in {failed[0].case.runtime}: {failed[0].failure}"
    )


def _shown(session: Session, form: str) -> str:
    from edgecnn.cli.progress import can_write
    from edgecnn.report.bench import csv_text, text
    from edgecnn.report.github_action import github_action
    from edgecnn.report.google_benchmark import google_benchmark
    from edgecnn.report.sustained import ASCII, BLOCKS

    match form:
        case "json":
            return json.dumps(session.document(), allow_nan=False)
        case "csv":
            return csv_text(session)
        case "google-benchmark":
            return google_benchmark(session)
        case "github-action":
            return github_action(session)
    return text(session, BLOCKS if can_write(BLOCKS) else ASCII)
