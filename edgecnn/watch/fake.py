"""A camera that needs no device, for tests of everything above it."""

from __future__ import annotations

import threading
import weakref

from PIL import Image

from edgecnn.watch.frames import Camera, CameraError


class FakeCamera(Camera):
    """Gives frames when told to: the colour of frame ``n``, counted from 1, is (n % 256, 0, 0).

    ``feed`` lets frames come, ``unplug`` makes the device go and ``plug`` brings it back; with ``free`` frames come
    without end. Numbers in ``damaged`` are of frames that cannot be decoded. ``opened`` counts, and ``alive`` is how
    many of its pictures something still holds.
    """

    name = "the fake camera"

    def __init__(self, size: tuple[int, int] = (32, 32), *, free: bool = False, damaged: tuple[int, ...] = ()) -> None:
        self._size, self._free, self._damaged = size, free, damaged
        self._change = threading.Condition()
        self._fed = self._number = self.opened = 0
        self._there, self._open = True, False
        self._pictures: weakref.WeakSet[Image.Image] = weakref.WeakSet()

    @property
    def alive(self) -> int:
        return len(self._pictures)

    def feed(self, count: int) -> None:
        """Let ``count`` frames come; returns when they were grabbed."""
        with self._change:
            self._fed += count
            self._change.notify_all()
            self._change.wait_for(lambda: not self._fed)

    def unplug(self) -> None:
        with self._change:
            self._there = False
            self._change.notify_all()
            self._change.wait_for(lambda: not self._open)

    def plug(self) -> None:
        with self._change:
            self._there = True

    def open(self) -> None:
        with self._change:
            if not self._there:
                raise CameraError(f"{self.name} is not there")
            self._open = True
            self.opened += 1

    def grab(self) -> None:
        with self._change:
            # A device that has nothing to give gives up after a while, as the real ones do.
            if not self._change.wait_for(lambda: self._free or self._fed or not self._there, 10):
                raise CameraError(f"{self.name} gives no frames any more")
            if not self._there:
                raise CameraError(f"{self.name} was unplugged")
            self._number += 1
            self._fed -= not self._free
            self._change.notify_all()

    def picture(self) -> Image.Image | None:
        if self._number in self._damaged:
            return None
        picture = Image.new("RGB", self._size, (self._number % 256, 0, 0))
        self._pictures.add(picture)
        return picture

    def close(self) -> None:
        with self._change:
            self._open = False
            self._change.notify_all()
