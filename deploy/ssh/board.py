"""A board that answers requests: what it is, and onboard.py carried out there, also across a broken connection."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from edgecnn.deploy.ssh import onboard
from edgecnn.deploy.ssh.address import Address, cleaned, last_line
from edgecnn.deploy.ssh.connection import Connection, LinkError, Stopped
from edgecnn.deploy.ssh.facts import COMMAND, Facts, check
from edgecnn.errors import BadFileError, CheckFailedError, EdgeCNNError, OutputError, UsageError
from edgecnn.runtime.files import sha256
from edgecnn.runtime.records import decode
from edgecnn.runtime.terminal import printable

PATIENCE = 120.0  # seconds for which a lost connection is tried again
PAUSES = (0.5, 16.0)  # seconds before the first try and at most
LINE_LIMIT = 1 << 20  # bytes of an answer
AT_ONCE = 100  # files that are asked about in one request

BOOT = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv[1])))"


@dataclass(frozen=True)
class Claim:
    """What a board answers to a claim: its folder, the environment's, whether that is there, bytes free."""

    root: str
    env: str
    ready: bool
    free: int


class Board:
    """A board behind a Connection. ``say`` hears of a connection that was lost and found again.

    ``place`` is where on the board things are kept: "cache" or "share" (see onboard.py).
    """

    def __init__(
        self, address: Address, stop: threading.Event, say: Callable[[str], None], place: str = "cache"
    ) -> None:
        self.address, self._say, self._place = address, say, place
        self._connection = Connection(address, stop)
        self._lost: float | None = None  # when the connection was lost

    def open(self) -> Facts:
        """Log in and ask what there is. Raises UsageError for a board that cannot run edgecnn, LinkError."""
        self._connection.open()
        answers = self._converse(COMMAND)
        if not answers:
            raise UsageError(f"{self.address}: nothing can be run there; does its login shell run commands?")
        if answers[-1] == {}:
            raise UsageError(f"{self.address}: no python3 there; on Debian: sudo apt install python3 python3-venv")
        facts: Facts = self.told(Facts, answers[-1])
        check(facts, self.address)
        return facts

    def claim(self, **request: Any) -> Claim:
        """Make the folders of a bench there and become its owner."""
        claim: Claim = self.told(Claim, self.ask("claim", **request))
        return claim

    def ask(self, do: str, send: Path | None = None, **request: Any) -> dict[str, Any]:
        """The answer to a request of onboard.py; ``send`` is a file that it reads.

        A lost connection is made again for PATIENCE seconds, and the request repeated. Raises LinkError after that,
        OutputError for a full disk there, CheckFailedError for other errors there.
        """
        return self._persist(lambda: self._once(do, request, send))

    def put(self, files: Mapping[str, Path]) -> None:
        """Copy files to the board, by their name there, except those that are there whole."""
        listed = {name: (path.stat().st_size, sha256(path)) for name, path in files.items()}
        names = list(files)
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            answer = self.ask("missing", files=[[name, *listed[name]] for name in some])
            missing = self._part(answer, "missing", list)
            for name in [name for name in some if name in missing]:
                size, digest = listed[name]
                if self.ask("put", files[name], name=name, bytes=size, sha256=digest).get("whole") is not True:
                    raise CheckFailedError(f"{files[name]} changed while it was copied to {self.address}; run again")

    def follow(self, hear: Callable[[str], None], **request: Any) -> int | None:
        """Pass each line that a task writes to ``hear`` until it ends; its exit code, None when it was killed."""
        offset, rest = 0, ""

        def heard(answer: dict[str, Any]) -> None:
            nonlocal offset, rest
            if "said" in answer:
                offset = self._part(answer, "offset", int)
                *lines, rest = (rest + str(answer["said"])).split("\n")
                for line in lines:
                    hear(line[:300])

        end = self._persist(lambda: self._once("follow", request | {"offset": offset}, hear=heard))
        if end.get("taken"):
            raise CheckFailedError(f"{self.address}: the same command was started again elsewhere and goes on there")
        code = end.get("code")
        return code if type(code) is int else None

    def fetch(self, name: str, path: Path, limit: int) -> None:
        """Copy a file of at most ``limit`` bytes from the board. Raises CheckFailedError when it is none or larger."""

        def get() -> None:
            size, digest = 0, hashlib.sha256()
            with path.open("wb") as file:

                def heard(answer: dict[str, Any]) -> None:
                    nonlocal size
                    try:
                        content = base64.b64decode(str(answer.get("piece", "")))
                    except ValueError as error:
                        raise CheckFailedError(f"{self.address}: it answered nonsense: {error}") from error
                    size += len(content)
                    if size > limit:
                        raise CheckFailedError(f"{self.address}: {name} is larger than the {limit} bytes allowed")
                    digest.update(content)
                    file.write(content)

                end = self._once("get", {"name": name}, hear=heard)
            if end.get("sha256") != digest.hexdigest():
                raise CheckFailedError(f"{self.address}: {name} did not arrive whole; run again")

        self._persist(get)

    def clean(self, **request: Any) -> None:
        """Remove what a bench left, even after a stop; says so when that is not possible."""
        self._connection.stop = threading.Event()
        try:
            try:
                left = self._once("clean", request).get("left", [])
            except LinkError:
                self._connection.open()
                left = self._once("clean", request).get("left", [])
        except EdgeCNNError as error:
            self._say(
                f"{self.address}: not cleaned up ({error}); to do it by hand: {self.address.by_hand} "
                f"rm -rf .cache/edgecnn/{request['job']} .cache/edgecnn/{request['env']}"
            )
        else:
            if request["keep"] and left:
                self._say(f"kept ~/.cache/edgecnn/{request['env']} there; a run without --keep removes it")

    def tidy(self, name: str, token: str) -> None:
        """Remove what no version of a name needs that is kept, even after a stop; says so when that is not possible."""
        try:
            try:
                self._once("tidy", {"job": name, "token": token})
            except LinkError:
                self._connection.open()
                self._once("tidy", {"job": name, "token": token})
        except EdgeCNNError as error:
            self._say(f"{self.address}: not tidied up ({error}); the next deploy does it")

    def close(self) -> None:
        """Log out."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _part(self, answer: dict[str, Any], name: str, kind: type) -> Any:
        """What an answer must have under a name."""
        if type(answer.get(name)) is not kind:
            raise CheckFailedError(f"{self.address}: it answered nonsense: {name} is {str(answer.get(name))[:60]}")
        return answer[name]

    def told(self, kind: type, answer: dict[str, Any]) -> Any:
        """An answer as a record of ``kind``. Raises CheckFailedError for one that is none."""
        try:
            return decode(kind, answer)
        except BadFileError as error:
            raise CheckFailedError(f"{self.address}: it answered nonsense: {printable(str(error))}") from error

    def _persist(self, action: Callable[[], Any]) -> Any:
        """Carry it out, and again after each loss of the connection, until no answer has come for PATIENCE seconds."""
        pause, away = PAUSES[0], False
        while True:
            try:
                if away:
                    self._connection.open()
                    away = False
                    self._say(f"{self.address}: connected again")
                return action()
            except LinkError as error:
                now = time.monotonic()
                if self._lost is None:
                    self._lost, pause = now, PAUSES[0]
                    self._say(f"{self.address}: the connection was lost; trying again for {PATIENCE:g} seconds")
                if now + pause > self._lost + PATIENCE:
                    raise LinkError(
                        f"{error}; the connection was lost and could not be made again for {PATIENCE:g} seconds; "
                        "the same command takes up what goes on there"
                    ) from error
                if self._connection.stop.wait(pause):
                    raise Stopped from error
                pause, away = min(2 * pause, PAUSES[1]), True

    def _once(
        self,
        do: str,
        request: dict[str, Any],
        send: Path | None = None,
        hear: Callable[[dict[str, Any]], None] = lambda _answer: None,
    ) -> dict[str, Any]:
        # Only letters, digits and signs that no login shell takes for its own.
        words = command_words(onboard, {"do": do, "place": self._place} | request)
        answers = self._converse(shlex.join(["exec", *words]), send, hear)
        if not answers:
            raise LinkError(f"{self.address}: no answer to '{do}'")
        return answers[-1]

    def _converse(
        self, command: str, send: Path | None = None, hear: Callable[[dict[str, Any]], None] = lambda _answer: None
    ) -> list[dict[str, Any]]:
        """The last answer to a command, in a list, or none; each is heard as it comes."""
        rest = b""
        last: list[dict[str, Any]] = []

        def take(piece: bytes) -> None:
            nonlocal rest, last
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LINE_LIMIT:
                raise CheckFailedError(f"{self.address}: an answer without an end")
            for line in lines:
                if line.startswith(onboard.MARK):
                    last = [self._understood(line)]
                    self._lost = None
                    hear(last[0])

        self._connection.run(command, take, send)
        return last

    def _understood(self, line: bytes) -> dict[str, Any]:
        try:
            answer = cleaned(json.loads(line.removeprefix(onboard.MARK)))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise CheckFailedError(f"{self.address}: an answer that is no JSON object: {last_line(repr(line[:100]))}")
        if "error" in answer:
            reason = last_line(str(answer["error"]))
            if answer.get("errno") in ("ENOSPC", "EDQUOT"):
                raise OutputError(f"{self.address}: the disk there is full ({reason}); free some space")
            raise CheckFailedError(f"{self.address}: {reason}")
        return answer


def command_words(program: ModuleType, request: dict[str, Any]) -> list[str]:
    """The command that has one of the programs that travel carry out a request."""
    source = base64.b64encode(zlib.compress(Path(str(program.__file__)).read_bytes(), 9)).decode()
    asked = base64.b64encode(json.dumps(request).encode()).decode()
    return ["python3", "-I", "-c", BOOT, source, asked]
