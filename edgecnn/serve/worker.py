"""The parent's end of a process that runs a bundle (child.py): starts it, asks it, and ends it when it hangs."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import edgecnn
from edgecnn.errors import BadFileError
from edgecnn.serve.child import HEADER
from edgecnn.serve.notify import environment_of_children

START_SECONDS = 120.0  # verifying a bundle and proving it in a child, on a slow board
JOB_SECONDS = 20.0  # one picture
PING_SECONDS = 5.0
LINE_LIMIT = 1 << 24  # bytes: a model card may hold 1 MiB of labels
COMMAND = "from edgecnn.serve.child import main; main()"


class WorkerEndedError(Exception):
    """The process has ended, or was ended, with a request unanswered; the message says how."""


class WorkerLateError(WorkerEndedError):
    """It was ended since it took too long."""


class Worker:
    """A running process with one bundle opened in it; ``card`` is what it says of that. Made by ``start``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.card: dict[str, Any] = {}

    @classmethod
    async def start(cls, bundle: Path, key: Path | None) -> Worker:
        """A process that has opened ``bundle``, signed by ``key`` if there is one.

        Raises BadFileError with the reason why it cannot.
        """
        root = str(Path(edgecnn.__file__).parent.parent)
        path = f"import sys; {root!r} in sys.path or sys.path.insert(0, {root!r}); "
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-c", path + COMMAND, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, limit=LINE_LIMIT, env=environment_of_children(),
            )  # fmt: skip
        except OSError as error:
            raise BadFileError(f"{bundle} could not be opened: no process for it: {error.strerror}") from error
        worker = cls(process)
        request = {"bundle": str(bundle), "key": None if key is None else str(key)}
        try:
            answer = await worker._ask(json.dumps(request).encode() + b"\n", START_SECONDS)
        except WorkerEndedError as error:
            raise BadFileError(f"{bundle} could not be opened: its process {error}") from error
        if "error" in answer:
            await worker.close()
            raise BadFileError(answer["error"])
        worker.card = answer["card"]
        return worker

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def busy(self) -> bool:
        """Whether it is at something; that is bounded in time."""
        return self._turn.locked()

    async def classify(self, picture: bytes, top: int) -> dict[str, Any]:
        """What child.py answers to a picture, which may not be empty. Raises WorkerEndedError."""
        assert picture
        return await self._ask(HEADER.pack(top, len(picture)) + picture, JOB_SECONDS)

    async def ping(self) -> None:
        """Come back when it answers. Raises WorkerEndedError."""
        await self._ask(HEADER.pack(0, 0), PING_SECONDS)

    async def ended(self) -> str:
        """Come back with how the process ended, once it has."""
        code = await self._process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def close(self) -> None:
        """End the process, after what it is at."""
        async with self._turn:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """End the process now."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _ask(self, request: bytes, seconds: float) -> dict[str, Any]:
        """The answer to one request at a time; a process that owes one and will not give it is ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        async with self._turn:
            try:
                async with asyncio.timeout(seconds):
                    self._process.stdin.write(request)
                    await self._process.stdin.drain()
                    line = await self._process.stdout.readline()
                if line:
                    answer: dict[str, Any] = json.loads(line)
                    return answer
            except TimeoutError as error:
                await self.kill()
                raise WorkerLateError(f"took more than {seconds:g} seconds and was ended") from error
            except (BrokenPipeError, ConnectionResetError):
                pass  # how it ended is asked for below
            except BaseException:  # whoever asked has gone: the answer would be taken for the next one's
                if self._process.returncode is None:
                    self._process.kill()
                raise
            raise WorkerEndedError(await self.ended())
