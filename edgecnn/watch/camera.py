"""USB cameras and whatever else is a Video4Linux device, through OpenCV."""

from __future__ import annotations

import os
from typing import Any

from PIL import Image

from edgecnn.watch import opencv
from edgecnn.watch.frames import Camera, CameraError

BACKEND = "CAP_V4L2"


class OpenCVCamera(Camera):
    """The device of a number (``0`` is /dev/video0) or path. Raises MissingExtraError without OpenCV.

    Grabbing waits for 10 seconds at most, OpenCV's own limit.
    """

    def __init__(self, device: str) -> None:
        self._cv2 = opencv.load("--camera")
        self._path = f"/dev/video{int(device)}" if device.isascii() and device.isdecimal() else device
        self._capture: Any = None
        self.name = f"the camera {self._path}"

    def open(self) -> None:
        if not os.path.exists(self._path):
            raise CameraError(f"{self.name} is not there; 'ls /dev/video* /dev/v4l/by-id' shows which are")
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise CameraError(f"{self.name} may not be used by this user; run: sudo usermod -aG video $USER")
        self._capture = self._cv2.VideoCapture(self._path, getattr(self._cv2, BACKEND))
        if not self._capture.isOpened():
            raise CameraError(f"{self.name} cannot be opened; it is no camera, or another program has it")

    def grab(self) -> None:
        if not self._capture.grab():
            raise CameraError(f"{self.name} gives no frames any more")

    def picture(self) -> Image.Image | None:
        there, pixels = self._capture.retrieve()
        return picture(self._cv2, pixels) if there else None

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def picture(cv2: Any, pixels: Any) -> Image.Image:
    """An RGB picture of OpenCV's pixels, uint8 [height, width, 3] in the order blue, green, red."""
    return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
