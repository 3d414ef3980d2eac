"""Options that several verbs share, as click decorators, and what ``--json`` promises.

A verb with ``json_option`` gets ``as_json: bool``. When it is true, standard output is kept for the one document
that ``print_json`` is given, or for the lines of ``json_lines``: whatever else is written there, by Python, a C library
or a child process, goes to standard error. Under torchrun, which starts a verb several times, only the first prints.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

DIGITS = 9  # of a number in a text, at most
_DOCUMENT = "edgecnn.json"
_STREAM = "edgecnn.json_stream"


class Number(click.FloatRange):
    """A number in a range; NaN lies in all of them, and infinity in those without an end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{found} is no number that can be used.", param, ctx)
        return found


def first_process() -> bool:
    """False in all but the first of the processes that torchrun started: one of them prints the result."""
    return os.environ.get("RANK", "0") == "0"


def print_json(document: object) -> None:
    """Make ``document`` the one JSON document of this run; it is printed when the verb ends, also by an error.

    Raises ValueError if it holds NaN or infinity, which JSON has not, and TypeError if it is not JSON data.
    """
    click.get_current_context().meta[_DOCUMENT] = json.dumps(document, indent=2, allow_nan=False)


def json_lines() -> Callable[[object], None]:
    """What prints a document on a line of its own, at once; it makes this run one of lines, of which there may be none.

    It raises ValueError and TypeError as print_json does.
    """
    meta = click.get_current_context().meta
    meta[_DOCUMENT] = None

    def write(document: object) -> None:
        line = (json.dumps(document, allow_nan=False) + "\n").encode()
        while line:
            line = line[os.write(meta[_STREAM], line) :]

    return write


def only_json_lines() -> Callable[[object], None]:
    """What json_lines gives, for a verb that prints nothing else and has no ``--json``."""
    context = click.get_current_context()
    context.find_root().with_resource(_stdout_for_json(context.meta))
    return json_lines()


@contextmanager
def _stdout_for_json(meta: dict[str, Any]) -> Iterator[None]:
    stream = sys.stdout
    stream.flush()
    descriptor = meta[_STREAM] = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stream
        os.dup2(descriptor, 1)
        os.close(descriptor)
        if meta.get(_DOCUMENT) is not None and first_process():
            print(meta[_DOCUMENT])
    if _DOCUMENT not in meta:
        raise RuntimeError("--json was asked for, and the verb ended without print_json()")


def _start_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value:
        # The root context is closed on every road out, also when the rest of the line does not parse.
        ctx.find_root().with_resource(_stdout_for_json(ctx.meta))
    return value


model_option = click.option(
    "--model",
    metavar="NAME",
    required=True,
    help="A name that 'edgecnn models' lists, or 'teacher'; a network in a line, as design:c16-r24s2n2-b48e2n2; "
    "torchvision:NAME or timm:NAME; or a function of yours that makes the model, as path/to/file.py:FUNCTION or "
    "package.module:FUNCTION, which runs that code.",
)


def _image_size(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int, int] | None:
    if value is None:
        return None

    from edgecnn.runtime.manifest import COLORS
    from edgecnn.runtime.preprocess import LARGEST_SIDE

    words = value.split("x")
    if len(words) not in (1, 2, 3) or not all(map(_is_count, words)):
        raise click.BadParameter(f"'{value}' (valid: HEIGHTxWIDTH or HEIGHTxWIDTHxCHANNELS, such as 48x64 or 48x64x1)")
    height, width, *channels = map(int, words * 2 if len(words) == 1 else words)
    most = max(COLORS.values())
    if max(height, width) > LARGEST_SIDE or (channels and channels[0] > most):
        raise click.BadParameter(f"'{value}' (valid: up to {LARGEST_SIDE} pixels a side, 1 to {most} channels)")
    return height, width, channels[0] if channels else 3


def _is_count(word: str) -> bool:
    """Whether it is a whole number from 1; int() refuses thousands of digits with an error of its own."""
    return word.isdecimal() and len(word) <= DIGITS and int(word) > 0


image_option = click.option(
    "--image-size",
    "image",
    metavar="HxW[xC]",
    callback=_image_size,
    help="What a folder's images are resized to. Default: that of the weights, or 32x32x3.",
)


def _values(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(word) for word in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"'{value}' (valid: numbers with commas, such as 0.485,0.456,0.406)") from error


mean_option = click.option(
    "--mean",
    metavar="VALUES",
    callback=_values,
    help="The model wants (pixel / 255 - mean) / std; one value, or one for each channel. Default: what the weights "
    "record, what torchvision or timm say, or edgecnn's own.",
)
std_option = click.option("--std", metavar="VALUES", callback=_values, help="As --mean, with which it is given.")

data_option = click.option(
    "--data",
    metavar="DATA",
    default="auto",
    show_default=True,
    help="cifar10, digits, a folder with train/CLASS and test/CLASS images, or auto: cifar10 if it can be had, "
    "else digits.",
)

teacher_option = click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="NAME|FILE",
    help="A network to learn from: a model whose weights ship for the data set, or a file of weights. Several may be "
    "given: what counts then is the mean of their logits.",
)

VIEWS = (
    "How many augmented copies of the training images the teacher is asked about, once, keeping its answers; 0 asks it "
    "for every batch."
)


def _compiler(context: click.Context, parameter: click.Parameter, value: bool | None) -> bool | None:
    if value:
        import shutil
        import sysconfig

        compiler, headers = os.environ.get("CXX", "g++"), Path(sysconfig.get_path("include"), "Python.h")
        if shutil.which(compiler) is None or not headers.exists():
            missing = f"'{compiler}'" if shutil.which(compiler) is None else str(headers)
            raise click.BadParameter(
                f"it needs a C++ compiler and Python's headers, and {missing} is not there; leave it out, or install "
                "them (Debian: apt-get install g++ python3-dev)"
            )
    return value


def compile_option(of: str = "", default: bool | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``--compile``, for a verb that gets ``compiled: bool | None``; ``of`` is what its help begins with."""
    text = f"{of}Compile the model first, which pays in long runs on most CPUs; needs a C++ compiler."
    return click.option("--compile", "compiled", is_flag=True, default=default, callback=_compiler, help=text)


broken_option = click.option(
    "--on-broken",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="What to do when images of a folder cannot be read.",
)

out_option = click.option(
    "--out", metavar="PATH", type=click.Path(path_type=Path), help="The bundle's folder. Default: MODEL-DATA-RECIPE."
)

force_option = click.option("--force", is_flag=True, help="Replace an output that exists.")


def _threads(context: click.Context, parameter: click.Parameter, value: int) -> int:
    room = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if value > room:
        raise click.BadParameter(f"{value} is more than the {room} CPUs there are for them; ask for fewer")
    return value


threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    callback=_threads,
    help="Threads of the engine, at most one for each CPU.",
)

signature_option = click.option(
    "--require-signature", "public_key", metavar="PUBKEY", type=click.Path(path_type=Path),
    help="Refuse a bundle that was not signed with the private half of this Ed25519 key (PEM).",
)  # fmt: skip

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_start_json,
    help="Print one JSON document on standard output, and everything else on standard error.",
)
