"""Real videos for tests, made on the spot by the library that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecnn.watch import opencv

cv2 = opencv.load("a test")

RATE = 10  # frames a second
SIZE = (64, 48)  # width, height
COLOURS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230)}  # as RGB


def video(path: Path, pictures: Sequence[np.ndarray], codec: str = "mp4v") -> Path:
    """Encode RGB pictures uint8 [height, width, 3]."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), RATE, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
    writer.release()
    return path


def flat(*colours: str) -> list[np.ndarray]:
    """A picture of each colour."""
    return [np.full((SIZE[1], SIZE[0], 3), COLOURS[name], np.uint8) for name in colours]


def colour(pixel: Sequence[int]) -> str:
    """The nearest of COLOURS."""
    return min(COLOURS, key=lambda name: sum(abs(a - b) for a, b in zip(pixel, COLOURS[name], strict=True)))
