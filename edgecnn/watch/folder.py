"""The images in a folder, and those that come into it.

It is looked at again and again, since inotify says nothing about what other machines write to a shared folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from edgecnn.errors import UsageError
from edgecnn.runtime import picture
from edgecnn.watch.frames import Frame, Frames

INTERVAL = 0.5  # seconds between two looks
SHARE = 10  # a look at very many files is followed by a pause of as many times what it took

_State = tuple[int, int, int]  # time of the last change, size, inode


class Folder(Frames):
    """The pictures of ``folder``, oldest first, without those whose name begins with a dot.

    A file is taken once it is finished, which it is when two looks find it unchanged; written anew under its old name,
    it is taken again. A folder that cannot be read for a while is waited for, and ``say`` is told once. ``transparent``
    is that of picture.load. Raises UsageError where there is no such folder.
    """

    def __init__(
        self, folder: Path, transparent: bool, say: Callable[[str], object], interval: float = INTERVAL
    ) -> None:
        if not os.path.isdir(folder):
            raise UsageError(f"{folder} is no folder; give one that is there to --folder")
        self._folder, self._transparent, self._say, self._interval = folder, transparent, say, interval
        self._known: dict[str, _State] = {}  # as the last look found them
        self._waiting: set[str] = set()  # those that were new or changed then
        self._ready: list[str] = []  # finished, the next one last
        self._look_at = time.monotonic()
        self._readable = True
        self._number = 0

    def next(self, seconds: float) -> Frame | None:
        if not self._ready:
            wait = self._look_at - time.monotonic()
            time.sleep(max(0.0, min(wait, seconds)))
            if wait > seconds:
                return None
            self._look()
        if not self._ready:
            return None
        path = self._folder / self._ready.pop()
        start = time.perf_counter()
        with picture.quiet():
            loaded = picture.load(path, transparent=self._transparent)
        decode = 1000 * (time.perf_counter() - start)
        self._number += 1
        return Frame(self._number, time.time(), loaded, decode, {"image": str(path)})

    def close(self) -> None:
        """Nothing is held."""

    def _look(self) -> None:
        start = time.monotonic()
        self._look_at = start + self._interval
        try:
            found = self._states()
        except OSError as error:
            if self._readable:
                self._say(f"the folder {self._folder} cannot be read: {error.strerror}; looking on until it can")
            self._readable = False
            return
        self._readable = True
        changed = {name for name, state in found.items() if self._known.get(name) != state}
        finished = (self._waiting - changed) & found.keys()
        self._ready = sorted(finished, key=lambda name: (found[name], name), reverse=True)
        self._known, self._waiting = found, changed
        end = time.monotonic()
        self._look_at = max(self._look_at, end + SHARE * (end - start))

    def _states(self) -> dict[str, _State]:
        """What is there. Raises OSError when the folder cannot be read."""
        states = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    if not entry.is_file():
                        continue
                    facts = entry.stat()
                except OSError:  # gone since, or a link that leads nowhere
                    continue
                states[entry.name] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        return states
