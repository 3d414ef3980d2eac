"""Keeps one bundle served: starts its process, starts it again when it dies, swaps in a new bundle beside the old.

The path that was given may be a link, as that which ``edgecnn deploy`` moves. It is followed once for each load, so a
bundle is never read half from the old place and half from the new.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from edgecnn.errors import EdgeCNNError
from edgecnn.serve.metrics import Metrics
from edgecnn.serve.notify import notify, reloading
from edgecnn.serve.worker import Worker, WorkerEndedError

POLL_SECONDS = 1.0  # between two looks at where the path leads
WAIT_SECONDS = 30.0  # that a picture may wait for its turn
SHORT_LIFE = 10.0  # seconds: a process that ends sooner is not started again at once
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0  # seconds between attempts to start it

Say = Callable[[str], None]


class BusyError(Exception):
    """Nobody can look at the picture now."""


class Keeper:
    """The model behind a server. ``reload_error`` is why the last new bundle was not taken, None if it was."""

    def __init__(self, bundle: Path, key: Path | None, metrics: Metrics, say: Say) -> None:
        # Absolute from the beginning: the folder that this process was started in may go.
        self._bundle, self._key = bundle.absolute(), None if key is None else key.absolute()
        self._metrics, self._say = metrics, say
        self._worker: Worker | None = None
        self._place, self._served = "", Path()  # where the path led when last looked at, and where what serves lies
        self._there = asyncio.Event()
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.card: dict[str, Any] = {}
        self.reload_error: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the process is there."""
        return self._there.is_set()

    @property
    def pids(self) -> dict[str, int]:
        """The processes by name."""
        return {"server": os.getpid()} | ({} if self._worker is None else {"worker": self._worker.pid})

    async def open(self) -> None:
        """Start with the bundle, and look after it from then on. Raises BadFileError, MissingExtraError."""
        await self._load()
        self._spawn(self._follow())

    async def close(self, at_once: bool = False) -> None:
        """End what ``open`` started, after what the worker is at, or ``at_once``."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._worker is not None:
            await (self._worker.kill() if at_once else self._worker.close())

    def reload(self) -> None:
        """Have the bundle read again soon, whether or not the path leads elsewhere."""
        self._asked.set()

    async def classify(self, picture: bytes, top: int, gone: Callable[[], bool]) -> dict[str, Any] | None:
        """The worker's answer, with the digest of the file that gave it; None if the client is ``gone`` by its turn.

        Raises BusyError when its turn does not come in time, WorkerEndedError when the process ends meanwhile.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turn.acquire()
        except TimeoutError as error:
            raise BusyError from error
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._there.wait()
            worker = self._worker
            if gone() or worker is None:
                return None
            answer = await worker.classify(picture, top)
        except TimeoutError as error:
            raise BusyError from error
        finally:
            self._turn.release()
        return answer | {"sha256": worker.card["sha256"]}

    async def alive(self) -> None:
        """Come back once the process is known to work: it answers, or is at a picture, whose time is bounded."""
        while True:
            await self._there.wait()
            worker = self._worker
            if worker is not None and worker.busy:
                return
            try:
                if worker is not None:
                    return await worker.ping()
            except WorkerEndedError:
                if worker is self._worker:
                    self._there.clear()  # until _mind has started another

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._say(f"internal error: {type(error).__name__}: {error}")

    async def _load(self) -> None:
        """Open what the path leads to now and let it serve."""
        self._place = os.path.realpath(self._bundle)
        place = Path(self._place)
        old = self._take(await Worker.start(place, self._key), place)
        if old is not None:
            await old.close()

    def _take(self, worker: Worker, place: Path) -> Worker | None:
        """From now on this one serves; the one that did before."""
        old, self._worker, self.card, self._served = self._worker, worker, worker.card, place
        self._there.set()
        self._spawn(self._mind(worker, place))
        return old

    async def _follow(self) -> None:
        """Load when asked to, or when the path leads elsewhere than at the last attempt."""
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                if os.path.realpath(self._bundle) == self._place:
                    continue
            self._asked.clear()
            reloading()
            try:
                await self._load()
            except EdgeCNNError as error:
                self.reload_error = str(error)
                self._metrics.reloads["failed"] += 1
                self._say(f"not loaded, the old bundle serves on: {error}")
            else:
                self.reload_error = None
                self._metrics.reloads["ok"] += 1
                self._say(f"now serves {self.title}")
            notify("READY=1", f"STATUS=serves {self.title}")

    @property
    def title(self) -> str:
        """The model and where it lies, for people."""
        return f"{self.card.get('model')} {self.card.get('recipe')} from {self._served}"

    async def _mind(self, worker: Worker, place: Path) -> None:
        """Start the bundle's process again when it ends without having been replaced."""
        born = time.monotonic()
        how = await worker.ended()
        if worker is not self._worker:
            return
        self._there.clear()
        self._metrics.restarts += 1
        self._say(f"the process of {place} {how}; it is started again")
        pause = 0.0 if time.monotonic() - born > SHORT_LIFE else FIRST_PAUSE
        while worker is self._worker:
            await asyncio.sleep(pause)
            try:
                again = await Worker.start(place, self._key)
            except EdgeCNNError as error:
                pause = min(max(2 * pause, FIRST_PAUSE), LAST_PAUSE)
                self._say(f"not started, tried again in {pause:g} s: {error}")
                continue
            if worker is self._worker:
                self._take(again, place)
            else:  # a new bundle came in between
                await again.close()
