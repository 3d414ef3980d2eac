"""What ``quantize --for`` adds: the targets that can be named, how costs are measured there, and what is printed."""

from __future__ import annotations

import platform
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli.progress import Progress
from edgecnn.cli.targets import EMULATED, LOCAL, SSH, Say, bench_on
from edgecnn.errors import UsageError

if TYPE_CHECKING:
    from edgecnn.export.drafts import Order
    from edgecnn.export.source import Source
    from edgecnn.measure.costs import Costs, Measure, Runs
    from edgecnn.measure.measurement import Session
    from edgecnn.quantize.recipe import Recipe
    from edgecnn.runtime.made_for import MadeFor, Trial

X86, AUTO = "x86", "auto"
EMULATED_CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")
VALID = f"{X86}, {', '.join(EMULATED_CPUS)}, {SSH}[USER@]HOST[:PORT], {AUTO}"
HEADERS = ("recipe", "passes", "float layers", "bytes", "{unit}", "of float32", "chosen")

# Runs of a file, each a new process, and seconds of timing in all of them.
SCREENING, DECIDING = (3, 0.3), (9, 1.8)
COUNTS = 3


def check_target(target: str, recipe: Recipe, given: Sequence[str], formats: Sequence[str], trained: bool) -> None:
    """Raise UsageError for a target that is none, or for what cannot be asked together with one.

    ``given`` are those of ``passes``, ``float_layers``, ``max_drop`` and ``equalize`` that were given.
    """
    from edgecnn.quantize.recipe import STATIC_W8A8

    if target not in (X86, AUTO, *EMULATED_CPUS) and not target.startswith(SSH):
        raise UsageError(f"--for '{target}' is no target (valid: {VALID})")
    if target.startswith(SSH):
        from edgecnn.deploy.ssh.address import Address

        Address.parse(target)
    if target == X86 and platform.machine() not in ("x86_64", "AMD64"):
        raise UsageError(f"--for {X86} is timed on this machine, which is {platform.machine()}; give --for {AUTO}")
    if recipe is not STATIC_W8A8:
        raise UsageError(f"--for chooses among files of {STATIC_W8A8.name}, not of {recipe.name}; leave --recipe out")
    for name in given:
        raise UsageError(
            f"--for chooses by cost what --{name.replace('_', '-')} chooses otherwise; give one of the two"
        )
    if "tflite" not in formats:
        raise UsageError("--for chooses among TFLite files; add tflite to --format")
    if trained:
        raise UsageError(
            "--for changes the graph, and weights trained by --qat are for one graph; choose first with --for, then "
            "train with --qat --passes and the names it chose"
        )


def measure_on(target: str, say: Say) -> Measure:
    """How costs are measured on a target that ``check_target`` let pass.

    Raises UsageError for a board that does not answer, and where the emulator is missing.
    """
    if target.startswith(SSH):
        reach(target, say)
        return Timed(target, say)
    if target in (X86, AUTO):
        return Timed(LOCAL, say)
    return Counted(EMULATED + target, say)


def reach(target: str, say: Say) -> None:
    """Log in on a board once, since what is measured there takes minutes to make.

    Raises UsageError for one that does not answer.
    """
    from edgecnn.deploy.ssh.address import Address
    from edgecnn.deploy.ssh.board import Board
    from edgecnn.deploy.ssh.connection import LinkError

    try:
        with Board(Address.parse(target), threading.Event(), say) as board:
            board.open()
    except LinkError as error:
        raise UsageError(str(error)) from error


class Timed:
    """Times files on this machine or on a board, in LiteRT on one thread."""

    kind = "time"

    def __init__(self, target: str, say: Say) -> None:
        self.target, self.say = target, say

    def screen(self, paths: Sequence[Path]) -> Sequence[Runs | str]:
        """A few runs. On a board the environment is left for the next time."""
        from edgecnn.measure.costs import costs_of

        return costs_of(self._bench(paths, *SCREENING, keep=True)).rows

    def decide(self, paths: Sequence[Path]) -> Costs:
        """Enough runs for a test; then a board is left as it was found."""
        from edgecnn.measure.costs import costs_of

        return costs_of(self._bench(paths, *DECIDING, keep=False))

    def _bench(self, paths: Sequence[Path], runs: int, seconds: float, keep: bool) -> Session:
        from edgecnn.measure.cases import Order
        from edgecnn.measure.measurement import Settings

        order = Order(tuple(paths), ("litert",), settings=Settings(runs, seconds))
        install = None
        if self.target.startswith(SSH):
            from edgecnn.deploy.ssh.environment import Install

            install = Install(False, None, keep)
        return bench_on(self.target, order, self.say, install)


class Counted:
    """Counts instructions on an emulated CPU; the files that are chosen among are also run there, on noise."""

    kind = "instructions"

    def __init__(self, target: str, say: Say) -> None:
        from edgecnn.deploy.emulated_arm.cpus import find
        from edgecnn.deploy.emulated_arm.emulator import emulator_for

        self.target, self.say = target, say
        emulator_for(find(target), say)  # what is missing is said before anything is made

    def screen(self, paths: Sequence[Path]) -> Sequence[Runs | str]:
        """One count of each."""
        from edgecnn.deploy.emulated_arm.counts import instructions_of

        found = instructions_of(self.target, paths, self.say)
        return [each if isinstance(each, str) else (float(each),) for each in found]

    def decide(self, paths: Sequence[Path]) -> Costs:
        """Several counts of each, and a comparison of its outputs with this machine's."""
        from edgecnn.measure.cases import Order
        from edgecnn.measure.costs import costs_of
        from edgecnn.measure.measurement import Settings

        return costs_of(bench_on(self.target, Order(tuple(paths), ("litert",), settings=Settings(COUNTS)), self.say))


def chosen(wanted: Sequence[Order], target: str, measure: Measure, source: Source) -> tuple[list[Order], MadeFor]:
    """The orders with the TFLite files as chosen, and the record; candidates lie in a folder that goes afterwards."""
    from edgecnn.export.candidates import Workshop
    from edgecnn.export.choose import choose

    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder, Progress() as say:
        choice = choose(Workshop(source, Path(folder), say.passing), target, measure)
    return [choice.of(order) for order in wanted], choice.made_for


def text(made_for: MadeFor, float_file: str) -> str:
    """The files that were measured by turns, the cheapest first, and why one was chosen."""
    from edgecnn.report.table import table

    known = sorted((each for each in made_for.trials if each.runs), key=_middle)
    floating = next(each for each in known if each.chosen and each.recipe == "float32")
    rows = [
        (
            each.recipe, " ".join(each.passes) or "none", " ".join(each.float_layers) or "-", f"{each.bytes or 0:,}",
            f"{_middle(each):,.0f}" if made_for.kind == "instructions" else f"{_middle(each):,.1f}",
            f"{_middle(each) / _middle(floating):.3f}", "yes" if each.chosen else "",
        )
        for each in known
    ]  # fmt: skip
    headers = [header.format(unit=made_for.unit) for header in HEADERS]
    ending = f"; use {float_file}" if made_for.float_is_best else ""
    failed = [each for each in made_for.trials if each.failure is not None]
    return "\n".join([
        f"made for {made_for.target}: {made_for.unit} an image on {made_for.cpu} with {made_for.engine}; "
        f"{len(made_for.trials)} candidates, the best by turns",
        "",
        table(headers, rows, "lllrrrl"),
        "",
        *(f"left out: {each.recipe} {' '.join(each.passes)}: {each.failure}" for each in failed),
        *(f"doubt: {doubt}" for doubt in made_for.doubts),
        f"{made_for.why}{ending}",
    ])  # fmt: skip


def _middle(trial: Trial) -> float:
    from edgecnn.measure.costs import middle

    return middle(trial.runs)
