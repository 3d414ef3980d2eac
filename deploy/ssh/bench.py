"""A bench on a board: make the environment there, copy the files, run it detached, bring the result back, clean up."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.deploy.ssh.address import Address, last_line
from edgecnn.deploy.ssh.board import Board
from edgecnn.deploy.ssh.connection import LinkError
from edgecnn.deploy.ssh.environment import LIGHT, Environment, Install
from edgecnn.deploy.ssh.result import read_result
from edgecnn.errors import BadFileError, CheckFailedError, UsageError
from edgecnn.measure.cases import Order, find_cases
from edgecnn.measure.measurement import LIMIT, Case, Session
from edgecnn.runtime.files import sha256
from edgecnn.runtime.manifest import MANIFEST, Manifest
from edgecnn.runtime.terminal import printable

FINISHED = (0, 1, 3)  # exit codes with which a bench leaves a result


@dataclass(frozen=True)
class Cargo:
    """One path of an order: the name that the board's bench is told, and the files to copy, by name there."""

    name: str
    files: dict[str, Path]


def bench_on_board(
    address: Address,
    order: Order,
    install: Install,
    stop: threading.Event,
    say: Callable[[str], None] = lambda _line: None,
) -> Session:
    """Carry the order out on a board, in LiteRT if it names no runtime.

    ``stop``, set from another thread, ends it there and raises Stopped. What was put there is removed at the end,
    however it ends; only a connection that is lost for good leaves it, and then the same order goes on where it
    stopped. Raises what find_cases, Board and Environment do, CheckFailedError when the bench there fails or its
    result is not of this order.
    """
    order = dataclasses.replace(order, runtimes=order.runtimes or (LIGHT,))
    cases = find_cases(order)
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as name, Board(address, stop, say) as board:
        facts = board.open()
        version = ".".join(map(str, facts.python))
        say(f"Python {version} on {printable(facts.machine)[:40]}; measured in {', '.join(order.runtimes)}")
        environment = Environment(facts, order.runtimes, install, Path(name))
        cargo = [_cargo(number, path) for number, path in enumerate(order.paths)]
        job, token = _key(environment.key, order, cargo), secrets.token_hex(8)
        asked: dict[str, Any] = {"job": job, "token": token, "env": environment.key}
        try:
            claimed = board.claim(**asked)
            if not claimed.ready:
                say("installing edgecnn there")
            python = environment.make(board, claimed, job, token, stop)
            board.put({f"{job}/{target}": path for piece in cargo for target, path in piece.files.items()})
            home = f"{claimed.root}/{job}"
            words = [*bench_words(order, [f"{home}/{piece.name}" for piece in cargo]), "--json", f"{home}/result.json"]
            _run(board, [python, "-P", "-m", "edgecnn", *words], job, token, say)
            board.fetch(f"{job}/result.json", Path(name, "raw.json"), LIMIT)
            session = _session(Path(name, "raw.json"), order, cases, address)
        except LinkError:
            raise  # nothing can be cleaned up, and there is something to go on with
        except BaseException:
            board.clean(**asked, keep=install.keep)
            raise
        board.clean(**asked, keep=install.keep)
    return session


def bench_words(order: Order, paths: Sequence[str]) -> list[str]:
    """The command line of ``edgecnn`` that carries the order out on other paths."""
    settings = order.settings
    words = ["bench", *paths, "--runtime", ",".join(order.runtimes)]
    words += ["--threads", ",".join(map(str, order.threads)), "--batch", ",".join(map(str, order.batches))]
    words += ["--runs", str(settings.runs), "--min-seconds", repr(settings.min_seconds)]
    words += ["--cooldown", repr(settings.cooldown)]
    words += ["--sustained", repr(settings.sustained)] if settings.sustained else []
    return words + (["--pin", ",".join(map(str, settings.pin))] if settings.pin else [])


def _cargo(number: int, path: Path) -> Cargo:
    """A bundle, all of it also when one of its files was asked for; or a single file."""
    place = f"files/{number}"
    folder = path if path.is_dir() else path.parent
    if not (folder / MANIFEST).is_file():
        return Cargo(f"{place}/{path.name}", {f"{place}/{path.name}": path})
    names = [MANIFEST, *(entry.file for entry in Manifest.load(folder).listed)]
    files = {f"{place}/{name}": folder / name for name in names}
    return Cargo(place if path.is_dir() else f"{place}/{path.name}", files)


def _key(environment: str, order: Order, cargo: Sequence[Cargo]) -> str:
    """Names the bench: the same for the same command on the same files."""
    files = [[target, sha256(source)] for piece in cargo for target, source in piece.files.items()]
    words = bench_words(order, [piece.name for piece in cargo])
    return "bench-" + hashlib.sha256(json.dumps([environment, words, files]).encode()).hexdigest()[:16]


def _run(board: Board, command: list[str], job: str, token: str, say: Callable[[str], None]) -> None:
    started = board.ask("start", folder=job, task="bench", commands=[command], done=FINISHED, alone=True).get("state")
    if started == "busy":
        raise CheckFailedError(f"{board.address}: another bench runs on it, and both would be disturbed; wait for it")
    if started != "started":
        say("this bench was begun before and goes on")
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line.strip() and not line.startswith("edgecnn: "):
            say(line)

    code = board.follow(hear, folder=job, task="bench", job=job, token=token)
    if code not in FINISHED or (said and said[-1].startswith("edgecnn: internal error")):
        reason = last_line("\n".join(said)).removeprefix("edgecnn: error: ")
        if code == UsageError.exit_code:
            raise UsageError(f"{board.address}: {reason}")
        how = "was ended from outside" if code is None else f"ended with exit code {code}"
        raise CheckFailedError(f"{board.address}: the bench there {how}: {reason}")


def _session(path: Path, order: Order, cases: Sequence[Case], address: Address) -> Session:
    try:
        return read_result(path, order, cases)
    except BadFileError as error:
        reason = last_line(str(error).replace(f"{path.parent}/", ""))
        raise CheckFailedError(f"{address}: what came back is no result of this bench: {reason}") from error
