"""Verbs that fail, wait or chatter, for the tests of the command line's frame."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys

import click

from edgecnn import errors
from edgecnn.cli import options


@click.command()
@click.argument("kind")
def fail(kind: str) -> None:
    """Raise the error that is asked for."""
    match kind:
        case "lines":
            raise errors.BadFileError("first half,\n  second half")
        case "internal":
            raise ZeroDivisionError("by nought\nand more")
        case "denied":
            raise PermissionError(errno.EACCES, "Permission denied", "/some/file")
        case "silent":
            raise AssertionError
        case "interrupt":
            raise KeyboardInterrupt
        case "torch" | "no_such_module_at_all":
            sys.modules.pop(kind, None)
            importlib.import_module(kind)
        case "--debug":
            raise errors.UsageError("got --debug as an argument")
        case _:
            raise getattr(errors, kind)("what arrived")


@click.command()
@click.pass_context
def leave(ctx: click.Context) -> None:
    """End with an exit code and no error."""
    ctx.exit(7)


@click.command()
def wait() -> None:
    """Wait for a signal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    print("ready", flush=True)
    signal.pause()


@click.command()
def chatter() -> None:
    """Print more than a pipe holds."""
    for line in range(100_000):
        print(line)


@click.command()
@options.model_option
@options.data_option
@options.out_option
@options.force_option
@options.json_option
@click.option("--bad", type=click.Choice(["gate", "nan", "nothing"]))
def document(**values: object) -> None:
    """Make noise on every road to standard output, then print what the shared options gave."""
    print("noise from Python")
    click.echo("noise from click")
    os.write(1, b"noise from C\n")
    subprocess.run([sys.executable, "-c", "print('noise from a child')"], check=True)
    if values["bad"] == "nothing":
        return
    options.print_json({**values, "out": str(values["out"]), "number": float("nan") if values["bad"] == "nan" else 1})
    print("late noise")
    if values["bad"] == "gate":
        raise errors.CheckFailedError("the gate said no")
