"""One image file of any kind to uint8 pixels of one size: the only door by which pictures come in.

Folders of training images and the device go through it alike, so a network sees in use what it saw in training. A file
may be damaged or made to do harm: its size, its pixels and the time it takes are bounded, and what Pillow raises
becomes one line.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL import TiffImagePlugin as _tiff  # noqa: F401  it enters itself in Pillow's list, as the next does
from PIL import WebPImagePlugin as _webp  # noqa: F401

from edgecnn.errors import BadFileError
from edgecnn.runtime.preprocess import INPUT_OFFSET

# The formats that are tried, each by a decoder inside Pillow; others start programs (EPS) or are seldom looked after.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
BYTES, PIXELS = 1 << 27, 1 << 25  # of a file; 33.5 million pixels are a frame of 8K video
# WebP is decoded in four copies of the picture and two of the file, where others take at most two and none.
WEBP_BYTES, WEBP_PIXELS = 1 << 25, 1 << 24
# Of a TIFF's pieces and of the numbers in one tag, of all of which Pillow makes objects before it knows the pixels.
NUMBERS = 1 << 16
EXIF_BYTES = 1 << 16  # as many as a JPEG can have
SECONDS = 60.0  # for one file; a JPEG can ask for one pass over its pixels after another
BAND = 256  # rows
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # Pillow's mode for a number of channels
TRANSPARENT = (2, 4)  # channels, of which the last says how opaque a pixel is

Image.preinit()  # the readers of the common formats, which Pillow would otherwise import at the first picture

_EIGHT_BIT = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")  # what is neither 16-bit nor transparent
_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_ORDERS = {b"II": "<", b"MM": ">"}  # of the bytes of a TIFF
_PIECES = (273, 279, 324, 325)  # tags of a TIFF: where its strips or tiles are, and how long
TILE_WIDTH, TILE_HEIGHT, BITS, KIND = 322, 323, 258, 262  # tags of a TIFF
WHITE_IS_ZERO = 0  # a KIND
_BYTES = (1, 2, 7)  # kinds of tags that Pillow leaves as they are
_GREY = (INPUT_OFFSET, INPUT_OFFSET, INPUT_OFFSET, 255)

Source = Path | bytes  # a file, or what would be in one


class BadPictureError(BadFileError):
    """A file is no picture that can be used; ``reason`` is the message without the ``path``, which bytes have not."""

    def __init__(self, source: Source, reason: str) -> None:
        self.path = None if isinstance(source, bytes) else source
        self.reason = reason
        super().__init__(reason if self.path is None else f"{self.path}: {reason}")


def decode(path: Path, image: tuple[int, int, int]) -> np.ndarray:
    """The picture in ``path`` as uint8 [height, width, channels] of the size ``image``: ``load``, then ``fit``."""
    return fit(load(path, transparent=image[2] in TRANSPARENT), image)


def load(source: Source, *, transparent: bool = False) -> Image.Image:
    """The picture in ``source``, upright, with 8 bits a channel, of any size and color.

    In this order: the first frame is turned upright by its EXIF tag; 16-bit values keep their upper byte;
    transparent parts are laid over mid-grey (128, 128, 128), unless they may stay ``transparent``. Color profiles are
    not applied. Raises BadPictureError for a file that cannot be read, and for one of more bytes, pixels (by its
    header, before it is decoded) or seconds than are allowed.
    """
    try:
        with _open(source) as file, Image.open(file, formats=FORMATS) as picture:
            pixels = WEBP_PIXELS if picture.format == "WEBP" else PIXELS
            if picture.width * picture.height > pixels:
                raise ValueError(f"{picture.width}x{picture.height} pixels, at most {pixels:,} are allowed")
            tile = _tag(picture, TILE_WIDTH, 1) * _tag(picture, TILE_HEIGHT, 1)
            if tile > pixels:
                raise ValueError(f"a tile of {tile:,} pixels, at most {pixels:,} are allowed")
            picture.load()
            _check_exif(picture)
            with suppress(Exception):  # of EXIF data that cannot be read; the pixels are there
                ImageOps.exif_transpose(picture, in_place=True)
            eight_bit = _eight_bit(picture)
            return eight_bit if transparent else _opaque(eight_bit)
    except UnidentifiedImageError as error:
        raise BadPictureError(source, f"not an image (valid: {', '.join(FORMATS)})") from error
    except Exception as error:  # Pillow's readers raise almost anything on damaged files; the reason is reported
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise BadPictureError(source, reason.splitlines()[0][:200]) from error


def fit(picture: Image.Image, image: tuple[int, int, int]) -> np.ndarray:
    """A picture from ``load`` as uint8 [height, width, channels] of the size ``image``; 3 channels are RGB, 1 is grey.

    With 2 and 4 channels the last is 255 where a pixel is opaque. The whole picture is resized bilinearly, with
    antialiasing when it shrinks, its aspect ratio ignored.
    """
    height, width, channels = image
    mode = MODES[channels]
    if channels in TRANSPARENT and picture.mode not in MODES.values():
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if picture.mode != mode:
        picture = picture.convert(mode)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, channels)


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, Pillow's warnings and what its libraries write to standard error are dropped, in all threads.

    What matters of it is an error anyway, and libtiff has a line for each bad row.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


class _Timed(io.BufferedReader):
    """A file that can be read for SECONDS: decoders ask for the next piece again and again."""

    def __init__(self, raw: io.FileIO | io.BytesIO) -> None:
        super().__init__(raw)
        self._end = time.monotonic() + SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._end:
            raise ValueError(f"it takes more than {SECONDS:g} s to decode")
        return super().read(size)


def _open(source: Source) -> _Timed:
    """The file, once its size is known to be allowed. Raises OSError, ValueError."""
    if isinstance(source, bytes):
        file, size = _Timed(io.BytesIO(source)), len(source)
    else:
        if not source.is_file():
            raise ValueError("not a regular file" if source.exists() else "there is no such file")
        file, size = _Timed(io.FileIO(source)), source.stat().st_size
    head = file.peek(16)[:16]
    allowed = WEBP_BYTES if (head[:4], head[8:12]) == (b"RIFF", b"WEBP") else BYTES
    try:
        if size > allowed:
            raise ValueError(f"{size:,} bytes, at most {allowed:,} are allowed")
        if head[:2] in _ORDERS and 42 <= max(head[2:4], default=0) <= 43:
            _check_tiff(file, head)
    except Exception:
        file.close()
        raise
    return file


def _check_tiff(file: _Timed, head: bytes) -> None:
    """Refuse a TIFF with very many pieces or numbers, read as Pillow reads it."""
    order, large = _ORDERS[head[:2]], head[2] == 43
    file.seek(struct.unpack_from(f"{order}{'Q' if large else 'L'}", head.ljust(16, b"\0"), 8 if large else 4)[0])
    counted = struct.Struct(f"{order}{'Q' if large else 'H'}")
    entry = struct.Struct(f"{order}{'HHQ8x' if large else 'HHL4x'}")
    tags = counted.unpack(file.read(counted.size).ljust(counted.size, b"\0"))[0]
    if tags > NUMBERS:
        raise ValueError(f"{tags:,} tags, at most {NUMBERS:,} are allowed")
    content = file.read(tags * entry.size)
    for tag, kind, count in entry.iter_unpack(content[: len(content) // entry.size * entry.size]):
        if count > NUMBERS and (tag in _PIECES or kind not in _BYTES):
            raise ValueError(f"{count:,} numbers in its tag {tag}, at most {NUMBERS:,} are allowed")
    file.seek(0)


def _check_exif(picture: Image.Image) -> None:
    """Refuse more EXIF data than any camera writes: Pillow makes an object of each number in it."""
    size = max(len(picture.info.get("exif", b"")), len(picture.info.get("Raw profile type exif", "")) // 2)
    if size > EXIF_BYTES:
        raise ValueError(f"{size:,} bytes of EXIF data, at most {EXIF_BYTES:,} are allowed")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit grey; other modes as they are."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if picture.mode not in _SIXTEEN_BIT:
        if picture.mode not in _EIGHT_BIT and not picture.has_transparency_data:
            raise ValueError(f"pixels of kind {picture.mode} (valid: {', '.join(_EIGHT_BIT)}, with transparency too)")
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("integer pixels outside 0 to 65535")
    values = values >> (4 if _tag(picture, BITS, 16) == 12 else 8)
    return Image.fromarray((255 - values if _tag(picture, KIND, 1) == WHITE_IS_ZERO else values).astype(np.uint8))


def _tag(picture: Image.Image, number: int, otherwise: int) -> int:
    """The first number in a tag of a TIFF; ``otherwise`` where there is none, as in files of other kinds."""
    value = getattr(picture, "tag_v2", {}).get(number, otherwise)
    return int(value[0] if isinstance(value, tuple) else value)


def _opaque(picture: Image.Image) -> Image.Image:
    """Lay a picture with transparency over mid-grey, which the network sees as zero, some rows at a time."""
    if not picture.has_transparency_data:
        return picture
    width, height = picture.size
    result = Image.new("RGB", picture.size)
    for top in range(0, height, BAND):
        band = picture.crop((0, top, width, min(top + BAND, height))).convert("RGBA")
        result.paste(Image.alpha_composite(Image.new("RGBA", band.size, _GREY), band).convert("RGB"), (0, top))
    return result
