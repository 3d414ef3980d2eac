"""A camera that needs no device, for tests of everything above it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Container

from PIL import Image

from edgecnn.watch.frames import Camera, CameraError

SECONDS = 10.0  # it waits for a frame, as the real ones do
PATIENCE = 60.0  # and a test for the thread that uses it


class FakeCamera(Camera):
    """Frame ``n``, counted from 1, has the colour (n % 256, 0, 0); those in ``damaged`` cannot be decoded.

    Frames come when they are fed, or without end after ``run_free``. ``opened`` and ``decoded`` count; ``alive`` is
    how many of its pictures something still holds.
    """

    name = "the fake camera"

    def __init__(self, size: tuple[int, int] = (32, 32), damaged: Container[int] = ()) -> None:
        self._size, self._damaged = size, damaged
        self._change = threading.Condition()
        self._fed = self._number = self._attempts = self.opened = self.decoded = 0
        self._free, self._there, self.is_open = False, True, False
        self._let_go: list[None] = []  # one for each picture that nobody holds any more

    @property
    def alive(self) -> int:
        """How many of the pictures are still held."""
        return self.decoded - len(self._let_go)

    def feed(self, count: int) -> None:
        """Let ``count`` frames come; returns when all were grabbed."""
        with self._change:
            self._fed += count
            self._until(lambda: not self._fed)

    def run_free(self) -> None:
        """From now on there is always a next frame."""
        with self._change:
            self._free = True
            self._change.notify_all()

    def unplug(self) -> None:
        """Take the device away; returns when whoever had it open has noticed."""
        with self._change:
            self._there, self._attempts = False, 0
            self._until(lambda: not self.is_open)

    def plug(self) -> None:
        """Bring the device back."""
        with self._change:
            self._there = True

    def wait_for_attempts(self, count: int) -> None:
        """Return when it was tried in vain ``count`` times to open what was unplugged."""
        with self._change:
            self._until(lambda: self._attempts >= count)

    def _until(self, there: Callable[[], bool]) -> None:
        self._change.notify_all()
        if not self._change.wait_for(there, PATIENCE):
            raise TimeoutError(f"{self.name} waited {PATIENCE:g} s for whoever uses it")

    def open(self) -> None:
        with self._change:
            self._attempts += 1
            self._change.notify_all()
            if not self._there:
                raise CameraError(f"{self.name} is not there")
            self.is_open = True
            self.opened += 1

    def grab(self) -> None:
        with self._change:
            if not self._change.wait_for(lambda: self._free or self._fed or not self._there, SECONDS):
                raise CameraError(f"{self.name} gives no frames any more")
            if not self._there:
                raise CameraError(f"{self.name} was unplugged")
            self._number += 1
            self._fed = max(0, self._fed - 1)
            self._change.notify_all()

    def picture(self) -> Image.Image | None:
        if self._number in self._damaged:
            return None
        picture = Image.new("RGB", self._size, (self._number % 256, 0, 0))
        self.decoded += 1
        weakref.finalize(picture, self._let_go.append, None)
        return picture

    def close(self) -> None:
        with self._change:
            self.is_open = False
            self._change.notify_all()
