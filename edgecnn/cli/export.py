"""``edgecnn export``: a trained model as float files."""

from __future__ import annotations

from typing import Any

import click

from edgecnn.cli.bundling import FileWords, bundle_options, formats_option, passes_option, run
from edgecnn.cli.sources import SourceWords, source_options


@click.command(name="export")
@source_options
@formats_option
@passes_option
@bundle_options
def command(formats: str, passes: str | None, **options: Any) -> None:
    """Write a trained model as float32 files, each checked against PyTorch, in a bundle."""
    from edgecnn.quantize.recipe import FLOAT32

    words = SourceWords.take(options)
    run(words, 1, FileWords(FLOAT32, formats, passes), **options)
