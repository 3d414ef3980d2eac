"""Where frames come from: two protocols.

A Camera goes on by itself whether anyone looks or not, and may be unplugged; newest.py makes Frames of it. A video and
a folder are Frames of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from PIL.Image import Image

from edgecnn.errors import UsageError


class CameraError(UsageError):
    """A camera is not there, cannot be used, or gave no frame in time."""


@dataclass(frozen=True)
class Frame:
    """One picture of a source, upright, as picture.load would give it.

    ``number`` counts all frames of the source from 1, also those that nobody saw. ``time`` is when it was taken, in
    seconds since the epoch; ``decode`` is the milliseconds it took to decode. ``where`` is what a source says besides:
    the seconds from a video's start, or the path of a file.
    """

    number: int
    time: float
    picture: Image
    decode: float
    where: Mapping[str, Any] = field(default_factory=dict)


class Camera(Protocol):
    """A device that takes frames; ``name`` is how messages call it. Each of its methods is called by one thread."""

    name: str

    def open(self) -> None:
        """Start it. Raises CameraError when it is not there or cannot be used."""

    def grab(self) -> None:
        """Wait for the next frame, some seconds at most, and keep it as it is. Raises CameraError when none comes."""

    def picture(self) -> Image | None:
        """The frame that was grabbed last, RGB; None for one that is damaged, as cables make them now and then."""

    def close(self) -> None:
        """Let go of the device, which can be opened again; without effect where it is not open."""


class Frames(Protocol):
    """Frames one after another."""

    def next(self, seconds: float) -> Frame | None:
        """The frame to look at now; None when there was none for about ``seconds``, which is no error.

        Raises EOFError at the end of what has an end, BadPictureError for a file that cannot be read, after which it
        goes on, and CameraError or BadFileError when there is nothing to be had at all.
        """

    def close(self) -> None:
        """Let go of the source."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
