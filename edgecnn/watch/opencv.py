"""The only place that imports OpenCV, from the extra ``camera`` or from the system's python3-opencv."""

from __future__ import annotations

import os
from typing import Any

from edgecnn.errors import MissingExtraError

# What OpenCV and the FFmpeg in it read from the environment: they write nothing of their own to standard error, where
# a line here says what matters.
SETTINGS = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def load(purpose: str) -> Any:
    """The module cv2. Raises MissingExtraError, naming the ``purpose``."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(purpose, "opencv-python-headless", "camera") from error
    return cv2
