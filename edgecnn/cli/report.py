"""``edgecnn report``: result files of bench as an HTML page, Markdown or PNG plots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from edgecnn.errors import UntrustworthyError, UsageError


@click.command(name="report")
@click.argument("files", nargs=-1, required=True, metavar="RUN.json...", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one page that needs nothing else.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write tables for GitHub.")
@click.option("--png", type=click.Path(path_type=Path), metavar="FOLDER", help="Write every plot as a picture.")
@click.option("--title", default="Benchmark report", show_default=True, help="What it is called.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def command(
    files: tuple[Path, ...], html: Path | None, markdown: Path | None, png: Path | None, title: str, force: bool
) -> None:
    """Show what `edgecnn bench --json` and `edgecnn profile --json` wrote.

    Each machine gets a section of its own. The exit code is 3 when any figure is INVALID; everything is written
    nevertheless, and says so.
    """
    from edgecnn.report.inputs import read
    from edgecnn.report.sections import sections
    from edgecnn.report.words import invalid
    from edgecnn.runtime.files import refuse_existing_file, write_bytes

    wanted = [path for path in (html, markdown, png) if path is not None]
    if not wanted:
        raise UsageError("nothing to write: give at least one of --html FILE, --markdown FILE and --png FOLDER")
    _refuse_mixing(files, wanted)
    for path in (html, markdown):
        if path is not None:
            refuse_existing_file(path, force)
    if png is not None:
        from edgecnn.report.png import check

        check()
    found = sections(*read(files))
    written: dict[Path, bytes] = {}
    if html is not None:
        from edgecnn.report.page import page

        written[html] = page(found, title).encode()
    if markdown is not None:
        from edgecnn.report.markdown import markdown as as_markdown

        written[markdown] = as_markdown(found, title).encode()
    if png is not None:
        from edgecnn.report.png import pictures

        drawn = {png / name: content for name, content in pictures(found).items()}
        _refuse_mixing(files, [*written, *drawn])
        written |= drawn
    for path in written:
        refuse_existing_file(path, force)
    for path, content in written.items():
        write_bytes(path, content)
    click.echo("\n".join(f"wrote {path} ({len(content):,} bytes)" for path, content in written.items()))
    doubts = dict.fromkeys(reason for section in found for reason in invalid(section))
    if doubts:
        raise UntrustworthyError(f"the report is written, but figures in it are INVALID: {'; '.join(doubts)}")


def _refuse_mixing(files: Sequence[Path], wanted: Sequence[Path]) -> None:
    """Raise UsageError if an output is also an input, or two outputs are one, which --force would not notice."""
    inputs = {place for path in files for place in (_place(path), Path(os.path.realpath(path)))}
    outputs: set[Path] = set()
    for path in wanted:
        place = _place(path)
        if place in inputs:
            raise UsageError(f"{path} is to be read and to be written; choose another name for the report")
        if place in outputs:
            raise UsageError(f"{path} is to be written twice; give --html, --markdown and --png different names")
        outputs.add(place)


def _place(path: Path) -> Path:
    """Where a file is, however it is spelled; a link itself, since a new file takes its place."""
    return Path(os.path.realpath(path.parent), path.name)
