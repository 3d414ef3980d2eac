"""The command line's frame: finds verbs, and turns every failure into one line and an exit code.

    0    done
    1    failed: a check did not pass, or an internal error
    2    the request or an input cannot be used
    3    it ran, but its figures cannot be trusted
    130  interrupted with Ctrl-C
    141  standard output was closed by its reader

A verb lives in a file of its own and is imported only when it is called, so that ``--help`` stays quick.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from edgecnn import __version__
from edgecnn.errors import EdgeCNNError, MissingExtraError, UnknownNameError
from edgecnn.runtime.terminal import printable


@dataclass(frozen=True)
class Verb:
    """Where a verb's click command is (``module:name``), and its line in ``edgecnn --help``."""

    target: str
    help: str

    def load(self) -> click.Command:
        """Import the verb's module and return its click command."""
        module, name = self.target.split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


VERBS = {
    "train": Verb("edgecnn.cli.train:command", "Train a model and save its weights."),
    "search": Verb("edgecnn.cli.search:command", "Search for designs that are accurate for what they cost."),
    "prune": Verb("edgecnn.cli.prune:command", "Take channels out of a trained model and train on what is left."),
    "quantize": Verb("edgecnn.cli.quantize:command", "Quantize a trained model into a verified bundle for a device."),
    "export": Verb("edgecnn.cli.export:command", "Write a float model as TFLite, TorchScript and ONNX."),
    "classify": Verb("edgecnn.cli.classify:command", "Tell what is on images, with a bundle."),
    "watch": Verb("edgecnn.cli.watch:command", "Tell what a camera sees, or what is in a video or folder."),
    "serve": Verb("edgecnn.cli.serve:command", "Serve a bundle over HTTP: a page and a JSON API."),
    "compare": Verb("edgecnn.cli.compare:command", "Compare two model files or bundles on the same images."),
    "bench": Verb("edgecnn.cli.bench:command", "Measure size, accuracy, latency, memory and energy of files."),
    "profile": Verb("edgecnn.cli.profile:command", "Time a TFLite file operation by operation."),
    "debug": Verb("edgecnn.cli.debug:command", "Tell which layer of a quantized bundle loses what, and why."),
    "compare-runs": Verb("edgecnn.cli.compare_runs:command", "Hold a result file of bench against an older one."),
    "report": Verb("edgecnn.cli.report:command", "Turn results of bench and profile into HTML, Markdown or PNG."),
    "deploy": Verb("edgecnn.cli.deploy:command", "Put a bundle on a board, test it there, and go back if need be."),
    "wheelhouse": Verb("edgecnn.cli.wheelhouse:command", "Fetch all wheels that install edgecnn on a board offline."),
    "doctor": Verb("edgecnn.cli.doctor:command", "Tell what works on this machine and how to mend the rest."),
    "models": Verb("edgecnn.cli.models:command", "List the models, and the trained weights that ship with them."),
}

# Import names that only the extra `train` installs: a light install lacks them, which is no internal error.
TRAIN_MODULES = {
    "ai_edge_quantizer", "flatbuffers", "litert_torch", "matplotlib", "onnx", "onnxruntime", "onnxscript", "optuna",
    "safetensors", "sklearn", "sqlalchemy", "timm", "torch", "torch_pruning", "torchao", "torchvision", "tqdm",
}  # fmt: skip


class LazyGroup(click.Group):
    """A click group that knows its verbs from VERBS and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb, or None for an option, which click then reports.

        Raises UnknownNameError, naming the nearest verb, for anything else.
        """
        if cmd_name in VERBS:
            return VERBS[cmd_name].load()
        if cmd_name.startswith("-"):
            return None
        raise UnknownNameError("verb", cmd_name, VERBS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs' help lines from the table; click's own way would import every verb."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


@click.group(
    cls=LazyGroup,
    subcommand_metavar="VERB [OPTIONS]...",
    epilog="'edgecnn VERB --help' tells a verb's options.",
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="edgecnn", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a failure (with any verb).")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Small CNNs from training to verified int8 files on low-resource devices."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code; see the module's table.

    Never raises: a failure is one line on standard error, after the traceback if ``--debug`` is among the words.
    """
    words, debug = _take_debug(list(sys.argv[1:] if argv is None else argv))
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        _settle_stdout()
        if isinstance(error, BrokenPipeError) and not debug:
            return 141
        line, code = _verdict(error, words)
        if debug:
            traceback.print_exception(error)
        print(printable(" ".join(part.strip() for part in line.splitlines())), file=sys.stderr)
        return code


def entry() -> None:
    """Entry point of the ``edgecnn`` script."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started this; each gets its old number, the lowest that is free
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    sys.exit(main())


def _take_debug(words: list[str]) -> tuple[list[str], bool]:
    """The words without ``--debug``, wherever it stood before a bare ``--``, and whether it was there."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _run(words: list[str]) -> int:
    # Not through click's own main(), which would print the blank line, "Aborted!" and usage blocks of its own.
    try:
        with group.make_context("edgecnn", words) as ctx:
            group.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def _verdict(error: BaseException, words: list[str]) -> tuple[str, int]:
    """The line to print for an error, and the exit code."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in TRAIN_MODULES:
        error = MissingExtraError(f"'edgecnn {words[0]}'", str(error.name), "train")
    match error:
        case KeyboardInterrupt() | click.Abort():
            return "edgecnn: interrupted", 130
        case EdgeCNNError():
            return f"edgecnn: error: {error}", error.exit_code
        case click.UsageError():
            verb = " ".join(word for word in words[:1] if word in VERBS)
            command = error.ctx.command_path if error.ctx else f"edgecnn {verb}".strip()
            return f"edgecnn: error: {error.format_message().rstrip('.')} (see '{command} --help')", 2
        case click.ClickException():
            return f"edgecnn: error: {error.format_message()}", error.exit_code
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            where = error.filename or "standard output or a temporary file"
            return f"edgecnn: error: cannot write {where}: {error.strerror}; free some space", 2
        case OSError(filename=str() | bytes() | int() as name):
            return f"edgecnn: error: {os.fsdecode(name) if isinstance(name, bytes) else name}: {error.strerror}", 2
        case _:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return f"edgecnn: internal error: {what} (run again with --debug for the traceback)", 1


def _settle_stdout() -> None:
    """Write out what was printed; if nobody takes it, drop it, so that the interpreter's flush at exit cannot fail."""
    try:
        sys.stdout.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.close(nothing)
