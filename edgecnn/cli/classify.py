"""``edgecnn classify``: what is on images."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli.options import json_lines, json_option, print_json, signature_option, threads_option
from edgecnn.errors import BadFileError, UsageError
from edgecnn.runtime.terminal import printable

if TYPE_CHECKING:
    from edgecnn.runtime.classify import Answer

STREAM = "-"


@click.command(name="classify")
@click.argument("bundle", metavar="BUNDLE_OR_FILE", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes to name for each image.")
@threads_option
@signature_option
@json_option
def command(
    bundle: Path, images: tuple[Path, ...], top: int, threads: int, public_key: Path | None, as_json: bool
) -> None:
    """Tell what is on images: the best classes, and the milliseconds to decode, preprocess and run each.

    A bundle stands for the TFLite file of its own recipe; give the path of another file in it to use that. An IMAGE is
    a JPEG, PNG, WebP, BMP, GIF, TIFF or PPM file of up to 33 million pixels (WebP 16), of any kind: it is turned by
    its EXIF tag, transparent parts are laid over mid-grey, and of several frames the first counts. A folder stands for
    the files in it in the order of their names, without those that begin with a dot; - reads paths from standard
    input, one a line, and answers each at once.

    Percentages are the softmax of the scores. An image that cannot be read is named on standard error, the others go
    on, and the exit code is 2 at the end. --json prints one document; with - among the images it prints JSON lines, one
    for each image as soon as it is done.
    """
    from edgecnn.runtime.bundle import find_artifact
    from edgecnn.runtime.classify import classify
    from edgecnn.runtime.picture import BadPictureError

    found, artifact = find_artifact(bundle, public_key)
    rows: list[dict[str, Any]] = []
    write: Callable[[dict[str, Any]], object] | None = None
    if as_json:
        write = json_lines() if Path(STREAM) in images else rows.append
    count, bad = 0, 0
    alone: BadPictureError | None = None
    with found.open(artifact, threads) as runner:
        for path in _paths(images):
            count += 1
            try:
                answer = classify(runner, found.labels, path, top)
            except BadPictureError as error:
                bad += 1
                if write is not None:
                    write({"image": str(path), "error": error.reason})
                if images == (path,):
                    alone = error
                else:  # not kept: an error holds on to the picture as far as it was decoded, and a stream has no end
                    click.echo(printable(f"edgecnn: {error}"), err=True)
                continue
            if write is not None:
                write({"image": str(path)} | document(answer))
            else:
                click.echo(printable(f"{path}  {text(answer)}"))
        if as_json and write == rows.append:
            print_json({"artifact": str(runner.path), "engine": runner.engine, "images": rows})
    if alone is not None:  # the only one: its error is the whole message
        raise alone
    if bad:
        raise BadFileError(f"{bad:,} of {count:,} images could not be read; they are named above")


def document(answer: Answer) -> dict[str, Any]:
    """The JSON of an answer; times are milliseconds."""
    return {
        "top": [asdict(guess) for guess in answer.best],
        "milliseconds": {"decode": answer.decode, "preprocess": answer.preprocess, "run": answer.run},
    }


def text(answer: Answer) -> str:
    """What a person reads."""
    best = ", ".join(f"{guess.label} {100 * guess.probability:.1f} %" for guess in answer.best)
    total = answer.decode + answer.preprocess + answer.run
    return (
        f"{best}  {total:.2f} ms (decode {answer.decode:.2f}, preprocess {answer.preprocess:.2f}, run {answer.run:.3f})"
    )


def _paths(images: tuple[Path, ...]) -> Iterator[Path]:
    """The images meant, one by one. Raises UsageError for a folder without files, BadFileError for one not readable."""
    for image in images:
        if image == Path(STREAM):
            for line in sys.stdin.buffer:
                if name := line.rstrip(b"\r\n"):
                    yield Path(os.fsdecode(name))
        elif os.path.isdir(image):
            try:
                files = sorted(each for each in image.iterdir() if _may_be_image(each))
            except OSError as error:
                raise BadFileError(f"the folder {image} cannot be read: {error.strerror}") from error
            if not files:
                raise UsageError(f"the folder {image} holds no files; give a folder of images, or their paths")
            yield from files
        else:
            yield image


def _may_be_image(path: Path) -> bool:
    """Whether a folder's entry is a file, or something that cannot be looked at and is to be named."""
    return not path.name.startswith(".") and (os.path.isfile(path) or not os.path.exists(path))
