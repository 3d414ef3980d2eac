"""The Raspberry Pi's own camera, through the system's Picamera2."""

from __future__ import annotations

from typing import Any

from PIL import Image

from edgecnn.errors import UsageError
from edgecnn.watch.frames import Camera, CameraError

SIZE = (640, 480)  # width, height: larger than any small network's input, and quick to copy
SECONDS = 5.0  # to wait for a frame


class PiCamera(Camera):
    """The first camera that libcamera finds. Raises UsageError without Picamera2, which comes from the system."""

    name = "the Pi camera"

    def __init__(self) -> None:
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise UsageError(
                f"--picamera needs Picamera2, which cannot be imported ({error}); run: sudo apt install "
                "python3-picamera2, and make the venv with: python3 -m venv --system-site-packages"
            ) from error
        except ValueError as error:  # Bookworm's python3-simplejpeg was built for numpy 1, and the venv has numpy 2
            raise UsageError(
                f"--picamera: the system's Picamera2 does not fit this venv's numpy ({error}); run: pip install "
                "--force-reinstall --no-deps simplejpeg"
            ) from error
        self._kind = Picamera2
        self._camera: Any = None
        self._pixels: Any = None

    def open(self) -> None:
        # Picamera2 and libcamera raise errors of many kinds; their text is reported.
        try:
            if not self._kind.global_camera_info():
                raise CameraError(f"{self.name} is not there; 'rpicam-hello --list-cameras' shows which are")
            self._camera = self._kind()
            # By libcamera's names, BGR888 lies in memory as red, green, blue.
            form = {"size": SIZE, "format": "BGR888"}
            self._camera.configure(self._camera.create_video_configuration(main=form, queue=False))
            self._camera.start()
        except (RuntimeError, OSError, IndexError, ValueError) as error:
            raise CameraError(f"{self.name} cannot be opened: {' '.join(str(error).split())}") from error

    def grab(self) -> None:
        try:
            self._pixels = self._camera.wait(self._camera.capture_array("main", wait=False), timeout=SECONDS)
        except (RuntimeError, OSError, TimeoutError) as error:
            raise CameraError(f"{self.name} gives no frames any more") from error

    def picture(self) -> Image.Image:
        return Image.fromarray(self._pixels)

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None
