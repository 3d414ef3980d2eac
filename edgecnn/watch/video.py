"""The frames of a video file, through OpenCV and the FFmpeg in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from edgecnn.errors import BadFileError
from edgecnn.runtime.picture import PIXELS
from edgecnn.watch import opencv
from edgecnn.watch.camera import picture
from edgecnn.watch.frames import Frame, Frames


class Video(Frames):
    """Every frame of the file ``path``, as fast as they are asked for, or ``rate`` frames for each second of it.

    So the answers depend on the file and not on the machine's speed. Frames are turned as the file says; ``say`` hears
    of a file that ends before its time. Raises BadFileError for what is no video or has more pixels a frame than are
    allowed, MissingExtraError without OpenCV.
    """

    def __init__(self, path: Path, rate: float | None, say: Callable[[str], object] = lambda _line: None) -> None:
        self._cv2 = opencv.load("--video")
        if not path.is_file():
            raise BadFileError(f"{path} is no file; give a video to --video")
        self._path, self._rate = path, rate
        # An absolute path, for FFmpeg takes what is before a colon as a protocol.
        self._capture = self._cv2.VideoCapture(str(path.absolute()), self._cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise BadFileError(f"{path} is no video that OpenCV can read, or it is damaged")
        self._capture.set(self._cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        width, height = (int(self._capture.get(each)) for each in (3, 4))
        if width * height > PIXELS:
            raise BadFileError(f"{path} has frames of {width}x{height} pixels, at most {PIXELS:,} are allowed")
        self._say = say
        self._number = 0
        self._position = 0.0  # seconds from the start, of the frame that was grabbed last
        self._due = 0.0  # seconds from the start

    def next(self, seconds: float) -> Frame | None:
        start = time.perf_counter()
        while True:
            if not self._capture.grab():
                if self._number == 0:
                    raise BadFileError(f"{self._path} has no frame that can be decoded")
                self._tell_what_is_missing()
                raise EOFError
            self._number += 1
            self._position = position = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
            if self._rate is None:
                break
            if position >= self._due - 1e-6:
                self._due = (math.floor(position * self._rate + 1e-6) + 1) / self._rate
                break
        there, pixels = self._capture.retrieve()
        if not there:
            raise BadFileError(f"{self._path}: frame {self._number:,} cannot be decoded")
        loaded = picture(self._cv2, pixels)
        decode = 1000 * (time.perf_counter() - start)
        return Frame(self._number, time.time(), loaded, decode, {"seconds": round(position, 3)})

    def _tell_what_is_missing(self) -> None:
        """Say so where the file promises more than a frame or two beyond the last: FFmpeg takes damage for the end."""
        count, rate = (self._capture.get(each) for each in (self._cv2.CAP_PROP_FRAME_COUNT, self._cv2.CAP_PROP_FPS))
        if rate > 0 and count > self._number + 2 and count / rate > self._position + 3 / rate:
            self._say(
                f"{self._path} ended after {self._position:.1f} of {count / rate:.1f} seconds: what follows is damaged "
                "or missing"
            )

    def close(self) -> None:
        self._capture.release()
