"""Where a bench runs: this machine, or the targets that ``--target`` names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli.progress import Progress
from edgecnn.errors import EdgeCNNError, UsageError

if TYPE_CHECKING:
    from edgecnn.deploy.emulated_arm.operations import Operations
    from edgecnn.deploy.ssh.environment import Install
    from edgecnn.measure.cases import Order
    from edgecnn.measure.measurement import Session

LOCAL = "local"
SSH = "ssh://"
EMULATED = "emulated:"

Say = Callable[[str], None]
Outcomes = dict[str, "Session | EdgeCNNError"]


def bench_on(target: str, order: Order, say: Say, install: Install | None = None) -> Session:
    """Carry the order out on the target; ``install`` is how edgecnn reaches a board.

    Raises UsageError for a target that is none.
    """
    if target.startswith(SSH):
        outcome = bench_on_all([target], order, say, install)[target]
        if isinstance(outcome, EdgeCNNError):
            raise outcome
        return outcome
    if target == LOCAL:
        from edgecnn.measure.bench import bench
        from edgecnn.measure.cases import find_cases

        return bench(find_cases(order, say), order.settings, say=say.passing if isinstance(say, Progress) else say)
    if target.startswith(EMULATED):
        from edgecnn.deploy.emulated_arm.bench import bench as bench_emulated

        return bench_emulated(target, order, say)
    raise UsageError(f"--target '{target}' is no target (valid: {LOCAL}, {EMULATED}CPU, ssh://[USER@]HOST[:PORT])")


def operations_on(target: str, order: Order, say: Say) -> Operations:
    """Count the instructions of a file's operations on an emulated CPU. Raises UsageError for another target."""
    if not target.startswith(EMULATED):
        raise UsageError(f"--target '{target}' has no profile (valid: {LOCAL}, {EMULATED}CPU)")
    from edgecnn.deploy.emulated_arm.operations import instructions_by_operation

    return instructions_by_operation(target, order, say)


def bench_on_all(targets: Sequence[str], order: Order, say: Say, install: Install | None = None) -> Outcomes:
    """Carry the order out on every target: on boards at the same time, on this machine meanwhile, one after another.

    A target that fails has its error as outcome. An interruption ends and cleans up all of them first.
    """
    stop = threading.Event()
    boards = [
        _BoardThread(target, order, install, stop, _named(target, targets, say))
        for target in targets
        if target.startswith(SSH)
    ]
    outcomes: Outcomes = {}
    try:
        for board in boards:
            board.start()
        for target in targets:
            if not target.startswith(SSH):
                try:
                    outcomes[target] = bench_on(target, order, _named(target, targets, say))
                except EdgeCNNError as error:
                    outcomes[target] = error
        for board in boards:
            board.ended.wait()
    except BaseException:
        stop.set()
        for board in boards:
            board.ended.wait()
        raise
    for board in boards:
        if isinstance(board.outcome, BaseException) and not isinstance(board.outcome, EdgeCNNError):
            raise board.outcome
        outcomes[board.name] = board.outcome
    return {target: outcomes[target] for target in targets}


def board_install(targets: Sequence[str], offline: str | None, keep: bool) -> Install:
    """How edgecnn reaches the boards. Raises UsageError for a word about boards when no target is one."""
    from edgecnn.deploy.ssh.environment import Install

    if (offline is not None or keep) and not any(target.startswith(SSH) for target in targets):
        raise UsageError("--offline and --keep are of boards; give a --target ssh://[USER@]HOST[:PORT]")
    return Install(offline is not None, Path(offline) if offline else None, keep)


class _BoardThread(threading.Thread):
    """A bench on a board. Ctrl-C reaches only the main thread, which then sets ``stop``.

    Wait for ``ended``: a join that is interrupted makes the next one return at once (CPython before 3.13).
    """

    def __init__(self, target: str, order: Order, install: Install | None, stop: threading.Event, say: Say) -> None:
        from edgecnn.deploy.ssh.address import Address
        from edgecnn.deploy.ssh.environment import Install

        super().__init__(name=target, daemon=True)
        self._address, self._order, self._install = Address.parse(target), order, install or Install()
        self._stop_set, self._say = stop, say
        self.ended = threading.Event()
        self.outcome: Session | BaseException = EdgeCNNError(f"{target} was not begun")

    def run(self) -> None:
        """Bench, and keep what comes of it."""
        from edgecnn.deploy.ssh.bench import bench_on_board

        try:
            self.outcome = bench_on_board(self._address, self._order, self._install, self._stop_set, self._say)
        except BaseException as error:  # raised again in the main thread
            self.outcome = error
        finally:
            self.ended.set()


def _named(target: str, targets: Sequence[str], say: Say) -> Say:
    """``say`` with the target's name before each line, if there are several targets."""
    return say if len(targets) == 1 else lambda line: say(f"{target}: {line}")
