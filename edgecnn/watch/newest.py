"""The newest frame of a camera, and a camera that comes back.

A thread takes every frame off the camera, so that none grows old in a driver's queue, but decodes one only when it was
asked for: there is never more than one decoded frame, and a slow network costs frames, not memory or delay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgecnn.watch.frames import Camera, CameraError, Frame, Frames

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between attempts to get a camera back, each twice the one before
DAMAGED = 30  # frames one after another that cannot be decoded, after which a camera is opened anew


class Newest(Frames):
    """Frames of ``camera``, each of them taken after it was asked for.

    A camera that is not there at the start is an error. One that fails later is closed and opened again, at growing
    intervals, until it is back; ``say`` is told once that it is gone and once that it is back.
    """

    def __init__(self, camera: Camera, say: Callable[[str], object], first_pause: float = FIRST_PAUSE) -> None:
        self._camera, self._say, self._first_pause = camera, say, first_pause
        self._change = threading.Condition()  # guards what follows
        self._wanted = False
        self._frame: Frame | None = None
        self._failure: BaseException | None = None
        self._ended = False
        self._number = self._damaged = 0
        self._thread = threading.Thread(target=self._run, name=f"camera {camera.name}", daemon=True)
        self._thread.start()

    def next(self, seconds: float) -> Frame | None:
        with self._change:
            self._wanted = self._frame is None
            self._change.wait_for(lambda: self._frame or self._failure, seconds)
            frame, self._frame = self._frame, None
            if frame is None and self._failure is not None:
                raise self._failure
            return frame

    def close(self) -> None:
        """Let go of the camera, as soon as it gives its next frame or gives up waiting for it."""
        with self._change:
            self._ended = True
            self._change.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._keep_grabbing()
        except BaseException as error:  # it is raised where the frame is asked for
            with self._change:
                self._failure = error
                self._change.notify_all()

    def _keep_grabbing(self) -> None:
        gone: float | None = None  # when it was lost
        pause = self._first_pause
        while not self._ended:
            opened = time.monotonic()
            try:
                self._camera.open()
                while not self._ended:
                    self._grab()
                    if gone is not None:
                        self._say(f"{self._camera.name} is back after {time.monotonic() - gone:.0f} s")
                        gone = None
            except CameraError as error:
                if self._number == 0:
                    raise
                if gone is None:
                    gone = time.monotonic()
                    if gone - opened > LONGEST_PAUSE:  # it was well, and not lost again as soon as it was back
                        pause = self._first_pause
                    self._say(f"{error}; trying again until it is back")
            finally:
                self._camera.close()
            with self._change:
                self._change.wait_for(lambda: self._ended, pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _grab(self) -> None:
        self._camera.grab()
        taken = time.time()
        with self._change:
            self._number += 1
            if not self._wanted:
                return
        start = time.perf_counter()
        picture = self._camera.picture()
        decode = 1000 * (time.perf_counter() - start)
        self._damaged = self._damaged + 1 if picture is None else 0
        if self._damaged == DAMAGED:
            self._damaged = 0  # the camera that is opened anew may give as many again
            raise CameraError(f"{self._camera.name} gives only damaged frames")
        if picture is None:
            return
        with self._change:
            self._frame, self._wanted = Frame(self._number, taken, picture, decode), False
            self._change.notify_all()
