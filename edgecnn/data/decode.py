"""One image file of any kind to uint8 pixels of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from edgecnn.runtime.preprocess import INPUT_OFFSET

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # Pillow's mode for a number of channels
_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def decode(path: Path, image: tuple[int, int, int]) -> np.ndarray:
    """The picture in ``path`` as uint8 [height, width, channels] of the size ``image``; 3 channels are RGB, 1 is grey.

    With 2 and 4 channels the last says how opaque a pixel is, and nothing is laid under transparent parts.

    In this order: the first frame is turned upright by its EXIF tag; 16-bit values keep their upper byte;
    transparent parts are laid over mid-grey; palettes, CMYK and the like become RGB; the whole picture is resized
    bilinearly, with antialiasing when it shrinks, its aspect ratio ignored.

    Raises OSError, ValueError or what else Pillow raises for a file it cannot read, ValueError for a picture of
    more than Pillow's limit of pixels (a decompression bomb).
    """
    height, width, channels = image
    if not path.is_file():
        raise OSError("not a regular file")
    with Image.open(path) as picture:
        if Image.MAX_IMAGE_PIXELS is not None and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"{picture.width}x{picture.height} pixels, at most {Image.MAX_IMAGE_PIXELS:,} are allowed")
        upright = ImageOps.exif_transpose(picture)
        eight_bit = _eight_bit(upright)
        if channels in (1, 3):
            eight_bit = _opaque(eight_bit)
        elif eight_bit.mode not in MODES.values():
            eight_bit = eight_bit.convert("RGBA" if eight_bit.has_transparency_data else "RGB")
    small = eight_bit.convert(MODES[channels]).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(height, width, channels)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit grey; other modes as they are."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if picture.mode not in _SIXTEEN_BIT:
        return picture
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("integer pixels outside 0 to 65535")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _opaque(picture: Image.Image) -> Image.Image:
    """Lay a picture with transparency over mid-grey, which the network sees as zero."""
    if not picture.has_transparency_data:
        return picture
    ground = Image.new("RGBA", picture.size, (INPUT_OFFSET, INPUT_OFFSET, INPUT_OFFSET, 255))
    return Image.alpha_composite(ground, picture.convert("RGBA"))
