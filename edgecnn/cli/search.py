"""``edgecnn search``: designs and training settings that are worth a full training."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgecnn.cli.options import (
    broken_option,
    compile_option,
    data_option,
    force_option,
    image_option,
    json_option,
    print_json,
)
from edgecnn.cli.progress import Progress
from edgecnn.cli.search_text import Monitor, document, searched, state
from edgecnn.cli.search_worker import FORMS, TIMING, Job, check_reach, check_target, run, timer
from edgecnn.cli.targets import EMULATED
from edgecnn.errors import BadFileError, CheckFailedError, UsageError
from edgecnn.runtime.files import output_errors, refuse_existing, refuse_existing_file
from edgecnn.search.objectives import TABLE

if TYPE_CHECKING:
    from optuna.study import Study

    from edgecnn.data.dataset import DataSet
    from edgecnn.search.asked import Asked
    from edgecnn.search.standing import Standing

JOURNAL, PAGE = "journal.log", "front.html"
POLL = 0.5  # seconds between two looks at what workers did


@click.command(name="search")
@click.option(
    "--objective", default="accuracy,latency,bytes", show_default=True, metavar="NAMES",
    help="accuracy and one or more of latency, bytes and macs.",
)  # fmt: skip
@data_option
@image_option
@broken_option
@click.option("--trials", type=click.IntRange(1), default=60, show_default=True, help="In all, whoever tries them.")
@click.option("--epochs", type=click.IntRange(2), default=9, show_default=True, help="Of a trial that is not stopped.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Images a step.")
@click.option(
    "--validation", type=float, default=0.1, show_default=True, help="Share of the training images that judge."
)
@click.option("--target", default="local", show_default=True, help=f"Where latency is from: {FORMS}.")
@click.option("--max-bytes", type=float, help="Of the static_w8a8 file; designs above it are not trained.")
@click.option("--max-macs", type=float, help="Multiply-accumulates; designs above it are not trained.")
@click.option("--max-latency", type=float, help="Share of resnet8's on the target; slower designs are not trained.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes on this machine.")
@click.option(
    "--storage", help="A journal's path, or postgresql://, mysql:// or sqlite:// without a password (that is in "
    "EDGECNN_STORAGE_PASSWORD), to be shared with searches on other machines. A search that is there is joined, also "
    "with --force. Default: journal.log in --out.",
)  # fmt: skip
@click.option("--precision", default="float32", show_default=True, help="float32 or bfloat16.")
@compile_option(default=False)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed tries other designs.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of journal and page. Default: runs/search-DATA.")
@click.option(
    "--build-table", "build_table", type=click.Path(path_type=Path),
    help="Measure --trials designs on --target, write a table for --target table:FILE, and search nothing.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the search that is in --out, or in --storage.")
@force_option
@json_option
def command(
    objective: str,
    data: str,
    image: tuple[int, int, int] | None,
    on_broken: str,
    trials: int,
    max_bytes: float | None,
    max_macs: float | None,
    max_latency: float | None,
    workers: int,
    storage: str | None,
    compiled: bool,
    device: str,
    out: Path | None,
    build_table: Path | None,
    resume: bool,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Search for designs that are accurate for what they cost, and print those that no other beats.

    Each is priced first, trained for a few epochs unless it costs too much, some are pruned, and judged, quantized, on
    held-out training images. 'edgecnn train' takes a design as --model; the page and --json have the whole commands.
    """
    from edgecnn.data import registry
    from edgecnn.data.dataset import held_apart
    from edgecnn.report.searched import text
    from edgecnn.search.asked import Asked
    from edgecnn.search.objectives import parse
    from edgecnn.search.study import check_storage, is_begun, open_study
    from edgecnn.train import choose_device
    from edgecnn.train.processes import slow_precision
    from edgecnn.train.recipe import check_batch

    limits = {"bytes": max_bytes, "macs": max_macs, "latency": max_latency}
    bounds = {name: most for name, most in limits.items() if most is not None}
    asked = Asked(parse(objective), data, bounds=bounds, compile=compiled, **settings)
    check_target(asked.target)
    if slow := slow_precision(asked.precision, choose_device(device)):
        click.secho(slow, err=True)
    if storage is not None:
        check_storage(storage)
    if build_table is not None:
        _refuse_searching()
        refuse_existing_file(build_table, force)
    dataset = registry.load(data, image=image, on_broken=on_broken)
    if dataset.note:
        click.secho(dataset.note, err=True, bold=True)
    if asked.timed or build_table is not None:
        with Progress() as say:
            check_reach(asked.target, dataset, say)
    if build_table is not None:
        built = _build(asked, dataset, trials, build_table)
        if as_json:
            print_json(built)
        else:
            click.echo(f"{trials} designs on {asked.target}; a design that is not among them is foretold to "
                       f"{built['median_error']:.1%} (median); search with --target {TABLE}{build_table}")  # fmt: skip
        return
    fitted, _ = held_apart(dataset.train, asked.validation)
    check_batch(len(fitted), asked.batch_size)
    asked = Asked.from_json(asked.to_json() | {"data": dataset.name, "image": dataset.image})
    folder = out or Path("runs") / f"search-{Path(dataset.name).name}"
    where = storage or str(folder / JOURNAL)
    more = [] if image is None else ["--image-size", "x".join(map(str, image))]
    more += ["--on-broken", on_broken] if on_broken != "refuse" else []
    with ExitStack() as until_done:
        if not (resume or (is_begun(where) if storage else (folder / JOURNAL).exists())):
            refuse_existing(folder / PAGE, force)  # of another search
        if storage is None:
            until_done.enter_context(_own_journal(folder / JOURNAL, resume, force))
        else:
            _make(folder)
        study = open_study(where, asked, resume=resume)
        work = until_done.enter_context(tempfile.TemporaryDirectory(prefix=".work-", dir=folder))
        say = until_done.enter_context(Progress())
        job = Job(asked.to_json(), where, trials, work, image, on_broken, device)
        found = _all_trials(job, study, dataset, workers, Monitor(study, asked, trials, folder / PAGE, more, say), say)
    if as_json:
        print_json(document(found, asked, more) | {"note": dataset.note, "storage": where, "page": str(folder / PAGE)})
    else:
        click.echo(text(searched(found, asked, more)))
        click.echo(f"\n{state(found)}; how to make each in full: {folder / PAGE}")
    if not found.front:
        raise CheckFailedError(f"no design came to the end of its training: {state(found)}; give wider bounds")


@contextmanager
def _own_journal(path: Path, resume: bool, force: bool) -> Iterator[None]:
    """The journal of this search and of those that join it: until the block ends, none begins it anew.

    Raises OutputExistsError for a journal that is neither resumed nor replaced, BadFileError for none to resume,
    UsageError for one that is not joined but in use, OutputError for a folder that cannot be made.
    """
    from edgecnn.train.folder import locked

    if resume and not path.exists():
        raise BadFileError(f"nothing to resume: {path} does not exist; run without --resume")
    if not resume:
        refuse_existing(path, force)
    _make(path.parent)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        if not locked(descriptor, fcntl.LOCK_SH if resume else fcntl.LOCK_EX):
            raise UsageError(
                f"a search is still running in {path.parent}; join it with --resume, or choose another --out"
            )
        if not resume:
            path.unlink(missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # from now on others may join
        yield
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _all_trials(job: Job, study: Study, dataset: DataSet, workers: int, monitor: Monitor, say: Progress) -> Standing:
    """Try all that is wanted, in this process or in several. Raises CheckFailedError when workers end before that."""
    from edgecnn.search.crew import Crew

    said = ""
    try:
        if workers == 1:
            run(job, study, dataset, monitor.tell, say.passing)
        else:
            with Crew(workers, "edgecnn.cli.search_worker", job.to_json(), Path(job.folder).parent) as crew:
                while crew.alive:
                    monitor.look()
                    time.sleep(POLL)
                said = crew.last_words()
    except KeyboardInterrupt:
        found = monitor.look()
        say(f"stopped; {found.ended} of {job.trials} trials are in {job.storage}: go on with --resume")
        raise
    found = monitor.look()
    if found.ended < job.trials:
        raise CheckFailedError(
            f"all workers ended after {found.ended} of {job.trials} trials ({said or 'they said nothing'}); see "
            f"{Path(job.folder).parent}/worker-*.log, and go on with --resume"
        )
    if found.failed and len(found.failed) == found.ended:
        raise CheckFailedError(f"all {found.ended} trials failed, the last because: {list(found.failed.values())[-1]}")
    if said:
        say(f"not every worker saw the end: {said}")
    return found


def _refuse_searching() -> None:
    """Raise UsageError if the command line gives options that only a search heeds."""
    context = click.get_current_context()
    names = ("resume", "storage", "out", "workers", "max_bytes", "max_macs", "max_latency")
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"--build-table searches nothing, so {', '.join(given)} would do nothing; leave that away")


def _build(asked: Asked, dataset: DataSet, count: int, path: Path) -> dict[str, Any]:
    """Measure designs and write the table."""
    from edgecnn.search.prices import Compared, Files
    from edgecnn.search.table import Lookup, measure

    if asked.target.startswith(TABLE):
        raise UsageError(f"--build-table measures, and '{asked.target}' is a table; give --target of a machine")
    unit = "instructions" if asked.target.startswith(EMULATED) else "microseconds"
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as work, Progress() as say:
        files = Files(dataset, Path(work))
        clock = Compared(timer(asked.target, say.passing), files, Path(work) / TIMING)
        table = measure(asked.target, unit, count, files, clock, asked.seed, say)
        error = Lookup(table, files).error()
    table.save(path)
    return {"table": str(path), "target": asked.target, "unit": unit, "designs": count, "median_error": error}
